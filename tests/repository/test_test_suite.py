"""Rules of the test suite: tiers, shared helpers, cached fixtures."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.helpers import fixture_cache as fixture_cache_module
from tests.helpers.fixture_cache import FixtureCache, content_hash, source_files
from tests.helpers.paths import ROOT
from tests.helpers.tiers import TIERS, holds_unit_tests

TEST_MODULES = sorted((ROOT / "tests").rglob("test_*.py"))
MODULES = ("prospect_core.timeline",)


def test_ruff_refuses_import_of_test_module():
    folders = [folder.name for folder in sorted((ROOT / "tests").iterdir()) if any(folder.glob("test_*.py"))]
    code = "".join(f"from tests.{folder}.test_some import thing\n" for folder in [*folders, "conftest"])
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--select=TID251",
        "--output-format=concise",
        "--stdin-filename=x.py",
        "-",
    ]
    done = subprocess.run(command, input=code, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.count("TID251") == len(folders) + 1, done.stdout


def test_pyproject_markers_equal_tiers(pytestconfig):
    declared = [line.split(":")[0] for line in pytestconfig.getini("markers")]
    assert set(TIERS) <= set(declared)


def test_test_modules_are_in_folders():
    assert not [file.name for file in TEST_MODULES if file.parent == ROOT / "tests"]


def test_test_module_names_are_unique():
    """The documentation names tests as ``test_module.py::test_name``."""
    names = [file.name for file in TEST_MODULES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import pytest\n", True),
        ("pytestmark = pytest.mark.integration\n", False),
        ("pytestmark = [pytest.mark.slow, pytest.mark.skipif(True, reason='x')]\n", False),
        ("@pytest.mark.slow\ndef test_x(): ...\n", True),
    ],
)
def test_holds_unit_tests_reads_module_marker(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr("tests.helpers.tiers.ROOT", tmp_path)
    file = tmp_path / "tests" / "core" / "test_x.py"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert holds_unit_tests(file) is expected


@pytest.mark.integration
def test_block_torch_import_in_unit_test_fails(tmp_path):
    """`pytest -m unit` fails a test that imports torch, so that the tier stays fast."""
    code = "from tests.helpers.tiers import block_torch; block_torch(); import torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "mark the test with pytest.mark.integration" in done.stderr


def test_trust_page_names_existing_tests():
    """No promise in docs/trust.md depends on a nightly test alone."""
    text = (ROOT / "docs" / "trust.md").read_text()
    sources = {file.name: file.read_text() for file in TEST_MODULES}
    module, checked = None, 0
    for name, test in re.findall(r"`(test_\w+\.py)?(?:::(test_\w+))?`", text):
        module = name or module
        if not name and not test:
            continue
        assert module in sources, module
        checked += 1
        if test:
            found = re.search(rf"((?:^@.*\n|^    .*\n|^\).*\n)*)^def {test}\(", sources[module], re.M)
            assert found, f"{module}::{test}"
            assert "mark.nightly" not in found[1], f"{module}::{test} is nightly"
    assert checked > 40


class Maker:
    """Counts its calls; slow enough for concurrent callers."""

    def __init__(self, seconds=0.0):
        self.calls, self.seconds = 0, seconds

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        time.sleep(self.seconds)
        folder.mkdir()
        (folder / "file").write_text("content")


def test_fixture_cache_same_content_is_made_once(tmp_path):
    maker = Maker()
    first = FixtureCache(tmp_path).folder("x", MODULES, {"seed": 1}, maker)
    again = FixtureCache(tmp_path).folder("x", MODULES, {"seed": 1}, maker)
    assert first == again
    assert maker.calls == 1


def test_fixture_cache_concurrent_callers_make_once(tmp_path):
    maker, folders = Maker(seconds=0.1), []
    threads = [
        threading.Thread(target=lambda: folders.append(FixtureCache(tmp_path).folder("x", MODULES, {}, maker)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert maker.calls == 1
    assert len(set(folders)) == 1


def test_fixture_cache_other_parameters_are_made_again(tmp_path, monkeypatch):
    maker, cache = Maker(), FixtureCache(tmp_path)
    folders = {cache.folder("x", MODULES, {"seed": 1}, maker), cache.folder("x", MODULES, {"seed": 2}, maker)}
    edited = tmp_path / "edited.py"
    edited.write_text("SEED = 3")
    monkeypatch.setattr(fixture_cache_module, "source_files", lambda modules: [edited])
    monkeypatch.setattr(fixture_cache_module, "ROOT", tmp_path)
    content_hash.cache_clear()
    folders.add(cache.folder("x", MODULES, {"seed": 1}, maker))
    content_hash.cache_clear()
    assert maker.calls == len(folders) == 3


def test_fixture_cache_failing_maker_leaves_nothing(tmp_path):
    def fail(folder: Path) -> None:
        folder.mkdir()
        raise RuntimeError("no")

    cache, maker = FixtureCache(tmp_path), Maker()
    with pytest.raises(RuntimeError):
        cache.folder("x", MODULES, {}, fail)
    assert (cache.folder("x", MODULES, {}, maker) / "file").is_file()


def test_source_files_follow_imports_at_any_depth():
    found = {file.relative_to(ROOT).as_posix() for file in source_files(["prospect_core.workbench.generate"])}
    assert "prospect_core/timeline/episode.py" in found
    assert "prospect_core/workbench/rendering/pictures.py" in found
    assert not [name for name in found if name.startswith("prospect_eval")]
