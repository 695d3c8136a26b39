"""README and documentation: commands exist, examples run, pages are built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from prospect_core.train.config.compose import compose_config
from prospect_eval.cli.handbook import FORMATS, make_handbook_schemas
from tests.helpers.documentation import BLOCK, COMMANDS, PAGES, blocks, lines
from tests.helpers.paths import ROOT
from tests.helpers.tiers import nightly


def parsed(command, args):
    """Find the subcommand and let click check its options, without running it."""
    context = click.Context(command)
    while isinstance(command, click.Group):
        name, *args = args
        found = command.get_command(context, name)
        assert found is not None, f"no command {name!r}"
        command, context = found, click.Context(found, info_name=name)
    command.make_context(command.name, list(args))
    return command, args


@pytest.mark.integration
def test_docs_commands_exist():
    seen = 0
    for page, block in blocks("console"):
        for words in lines(block):
            if words[0] not in COMMANDS:
                assert words[0] in ("make", "pip", "python", "torchrun", "accelerate", "cd"), (page, words)
                continue
            if any(word in ("--help", "-h") for word in words) or "|" in words:
                continue
            command, args = parsed(COMMANDS[words[0]], words[1:])
            if command.name == "train" and "-m" not in args:
                compose_config([word for word in args if "=" in word])
            seen += 1
    assert seen > 60


@pytest.mark.integration
def test_docs_launchers_start_existing_command():
    for page, block in blocks("console"):
        for words in lines(block):
            if words[0] in ("torchrun", "accelerate"):
                place = words.index("prospect_core.cli")
                assert words[place + 1] == "train", page
                compose_config(words[place + 2 :])
                for word in words:
                    if word.startswith("benchmarks/"):
                        assert (ROOT / word).is_file(), word


def test_docs_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        for name in re.findall(r"`make ([\w-]+)`", page.read_text()):
            assert name in targets, (page, name)
    for page, block in blocks("console"):
        for words in lines(block):
            if words[0] == "make":
                assert words[1] in targets, page


@pytest.mark.integration
def test_docs_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for page, block in blocks("python"):
        exec(compile(block, str(page), "exec"), {})


def test_docs_yaml_examples_are_valid():
    for _, block in blocks("yaml"):
        yaml.safe_load(block)


def test_docs_links_have_targets():
    for page in PAGES:
        text = BLOCK.sub("", page.read_text())
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = target.partition("#")
            if "://" in target or not path:
                continue
            place = (page.parent / path).resolve()
            assert place.exists(), f"{page.name}: {target}"
            if anchor and place.suffix == ".md":
                titles = re.findall(r"^#+ (.*)$", place.read_text(), re.M)
                slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
                assert anchor in slugs, f"{page.name}: {target}"


@pytest.mark.integration
def test_docs_reference_pages_equal_code(tmp_path):
    """`make docs` writes the pages. A separate process, because click caches the first form of a
    command's help.
    """
    subprocess.run([sys.executable, "-m", "prospect_eval.cli.handbook", str(tmp_path)], check=True, cwd=ROOT)
    made = {file.relative_to(tmp_path): file.read_text() for file in tmp_path.rglob("*") if file.is_file()}
    assert len(made) > 6
    for name, text in made.items():
        assert (ROOT / "docs/reference" / name).read_text() == text, name


@pytest.mark.integration
def test_docs_schemas_validate_written_files(short_world, tmp_path):
    """Compares each kind of file of a whole run with its documented schema."""
    import json

    jsonschema = pytest.importorskip("jsonschema")
    from tests.helpers.commands import evaluate

    out = tmp_path / "run"
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", out) == 0
    made = make_handbook_schemas()
    assert set(made) == set(FORMATS)
    rows = (short_world.root / "test.jsonl").read_text().splitlines()
    files = {
        "dataset": [(short_world.root / "dataset.json").read_text()],
        "episode": rows,
        "record": [file.read_text() for file in (out / "episodes").iterdir()],
        "run": [json.dumps(json.loads((out / "run.json").read_text())["config"])],
        "suite": [
            json.dumps(yaml.safe_load(file.read_text())) for file in (ROOT / "prospect_eval/suites").glob("*.yaml")
        ],
    }
    for name, texts in files.items():
        assert texts
        for text in texts:
            jsonschema.validate(json.loads(text), made[name])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(rows[0]), "fps": "two"}, made["episode"])


@pytest.mark.slow
def test_docs_site_builds_without_warning(tmp_path):
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", ROOT / ".ci/mkdocs.yml",
               "--site-dir", tmp_path / "site"]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    for page in ("index.html", "reference/cli/index.html", "reference/metrics/index.html", "howto/extend/index.html"):
        text = (tmp_path / "site" / page).read_text()
        # the page must be readable without a network
        assert not re.findall(r'(?:src|href)="https?://(?!squidfunk)', text), page


@pytest.mark.slow
@pytest.mark.parametrize("short", [True, nightly(False)])
def test_docs_tutorial_runs(tmp_path, short):
    """Everything but the installation, in an empty folder; the short variant trains for seconds
    with short replies.
    """
    shorter = ["train.minutes=0.2", "model.max_reply_tokens=4"]
    folder = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    assert shutil.which("prospect", path=env["PATH"])
    ran = 0
    for _, block in [one for one in blocks("console") if one[0].name == "tutorial.md"]:
        for words in lines(block):
            if words[0] in COMMANDS:
                if short and "train.minutes=2" in words:
                    words = [word for word in words if word != "train.minutes=2"] + shorter
                done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
                assert done.returncode in ((0, 3) if words[1] == "doctor" else (0,)), (words, done.stderr[-2000:])
                ran += 1
    assert ran >= 10
    assert (tmp_path / "runs/first/report.html").is_file()


@pytest.mark.integration
def test_docs_notebook_runs(short_world, tmp_path, monkeypatch):
    import json

    matplotlib = pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    matplotlib.use("agg")
    from tests.helpers.commands import evaluate

    monkeypatch.chdir(tmp_path)
    run = Path("runs/workbench-tiny-workbench-none")
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", run) == 0
    notebook = json.loads((ROOT / "docs/notebooks/predictions-to-plots.ipynb").read_text())
    assert notebook["nbformat"] == 4
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec("".join(cell["source"]), names)
    assert names["by_video"].to_numpy().min() == 1
    assert len(matplotlib.pyplot.get_fignums()) >= 2
    matplotlib.pyplot.close("all")


@pytest.mark.slow
def test_wheel_and_sdist_have_all_package_data(tmp_path):
    """Outside of the checkout: the released checkpoint, suites, templates and pages are package
    data.
    """
    source = tmp_path / "source"
    kept = shutil.ignore_patterns(".*", "runs", "site", "build", "dist", "*.egg-info", "reports")
    shutil.copytree(ROOT, source, ignore=kept)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir"]
    subprocess.run([*build, str(tmp_path / "dist"), str(source)], check=True, timeout=300)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.stat().st_size <= 20e6
    sdist = "from setuptools.build_meta import build_sdist; import sys; print(build_sdist(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", sdist, str(tmp_path / "dist")], cwd=source, check=True, capture_output=True)
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    subprocess.run([*build, str(tmp_path / "again"), str(archive)], check=True, timeout=300)
    (again,) = (tmp_path / "again").glob("*.whl")
    env = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for number, file in enumerate((wheel, again)):
        place = tmp_path / f"site{number}"
        install = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(place), str(file)]
        subprocess.run(install, check=True, timeout=300)
        code = "import prospect_core; print(prospect_core.__file__); from prospect_core.cli.commands import prospect; prospect()"
        made = ["data", "workbench", "--output", "data", "--train", "0", "--val", "0", "--test", "1"]
        env["PYTHONPATH"] = str(place)
        folder = tmp_path / f"work{number}"
        folder.mkdir()
        done = subprocess.run([sys.executable, "-c", code, *made], cwd=folder, env=env, capture_output=True, text=True)
        assert str(place) in done.stdout, done.stderr
        code = "from prospect_eval.cli.commands import prospect_eval; prospect_eval()"
        run = ["run", "--ckpt", "workbench-tiny", "--data", "data", "--limit", "1", "--output", "run"]
        done = subprocess.run([sys.executable, "-c", code, *run], cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        assert (folder / "run" / "report.html").is_file()
