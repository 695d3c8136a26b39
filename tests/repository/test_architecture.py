"""Dependencies have one direction, imports stay light, and no code loads pickles."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.pyproject import tool_settings


@cache
def modules():
    """Yield (name, syntax tree, file) of every module of both packages."""
    found = []
    for package in ("prospect_core", "prospect_eval"):
        for file in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found.append((name, ast.parse(file.read_text()), file))
    return found


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_import_contracts_have_no_exception():
    """`make lint` checks the contracts; this test checks that they have no exceptions."""
    linter = tool_settings("importlinter")
    assert {"packages", "core", "eval"} <= {contract["id"] for contract in linter["contracts"]}
    assert not [contract["id"] for contract in linter["contracts"] if "ignore_imports" in contract]
    assert "lint-imports" in (ROOT / "Makefile").read_text("utf-8")


def test_python_files_are_in_layout_folders():
    at_the_top = {
        package: {file.name for file in (ROOT / package).glob("*.py")} for package in ("prospect_core", "prospect_eval")
    }
    assert at_the_top == {
        "prospect_core": {"__init__.py"},
        "prospect_eval": {"__init__.py", "api.py"},
    }


def test_modules_have_no_import_cycles():
    graph = {
        name: {t for t in imports(tree) if t.startswith("prospect_") and t != name and not name.startswith(t + ".")}
        for name, tree, _ in modules()
    }

    def visit(node, path):
        assert node not in path, " -> ".join([*path, node])
        for target in graph.get(node, ()):
            visit(target, [*path, node])

    for start in graph:
        visit(start, [])


def test_timeline_is_pure_and_records_import_only_it():
    trees = {name: tree for name, tree, _ in modules()}
    timeline = [tree for name, tree in trees.items() if name.startswith("prospect_core.timeline")]
    used = {t for tree in timeline for t in imports(tree) if t.startswith("prospect_")}
    assert {t.rpartition(".")[0] for t in used} == {"prospect_core.timeline"}
    records = [tree for name, tree in trees.items() if name.startswith("prospect_core.records")]
    used = {t for tree in records for t in imports(tree) if t.startswith("prospect_")}
    assert {".".join(t.split(".")[:2]) for t in used} == {"prospect_core.timeline", "prospect_core.records"}


@pytest.mark.parametrize("what", ["import prospect_core", "import prospect_eval", "from prospect_core.cli.commands import prospect",
                                  "from prospect_eval.cli.commands import prospect_eval", "import prospect_core.timeline, prospect_core.records"])  # fmt: skip
def test_heavy_libraries_are_imported_lazily(what):
    code = f"{what}; import sys; print([m for m in ('torch', 'transformers', 'scipy', 'av', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.integration
def test_baseline_run_imports_no_torch(short_world, tmp_path):
    """Replay, scores and report of a model without torch start in seconds if the embeddings are
    cached.
    """
    from prospect_eval.metrics.resources import make_scoring_resources
    from prospect_eval.suites.training_data import open_suite_training_data

    known = [*short_world.episodes("test"), *open_suite_training_data(str(short_world.root), "test").load()]
    make_scoring_resources().similarity.encode({turn.text for episode in known for turn in episode.utterances()})
    given = ["run", "--ckpt", "baseline:silent", "--data", str(short_world.root), "--output", str(tmp_path / "run")]
    code = (
        "import contextlib, sys; from prospect_eval.cli.commands import prospect_eval\n"
        f"with contextlib.suppress(SystemExit): prospect_eval({given})\n"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (tmp_path / "run" / "report.html").is_file(), done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.integration
def test_package_exports_exist():
    import prospect_core

    for name in prospect_core._LAZY:
        assert getattr(prospect_core, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = prospect_core.nothing


def count_docstring_lines(tree):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = [node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and ast.get_docstring(node)]
    return sum(docstring.end_lineno - docstring.lineno + 1 for docstring in docstrings)


def test_files_are_small_and_have_docstrings():
    for name, tree, file in modules():
        text = ast.get_docstring(tree)
        assert text, f"{name} has no docstring"
        lines = len(file.read_text().splitlines()) - count_docstring_lines(tree)
        assert lines <= 400, f"{name} is too long without its docstrings"


def test_packages_load_no_pickle():
    for name, tree, file in modules():
        assert not {"pickle", "dill", "joblib"} & set(imports(tree)), name
        assert "torch.load" not in file.read_text(), name


def names_no_encoding(call):
    """Return whether a call reads or writes text in the locale's encoding."""
    if not isinstance(call.func, ast.Attribute) or any(k.arg in ("encoding", None) for k in call.keywords):
        return False
    first = call.args[0] if call.args else None
    if call.func.attr in ("read_text", "write_text"):
        return len(call.args) < (1 if call.func.attr == "read_text" else 2)
    if call.func.attr == "open" and isinstance(first, ast.Constant) and len(call.args) < 3:
        return first.value in ("r", "w", "x", "a", "r+", "w+")
    starts = ast.unparse(call.func).startswith("subprocess.")
    return starts and any(k.arg in ("text", "universal_newlines") for k in call.keywords)


def test_packages_state_text_encoding():
    assert [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for _, tree, file in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and names_no_encoding(node)
    ] == []
