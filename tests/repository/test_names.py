"""Names: each public name is defined once, and no name contains a word that the glossary replaces."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict

import pytest
import yaml

from tests.helpers.paths import ROOT

PACKAGES = ("prospect_core", "prospect_eval")
#: replacement for each word of an identifier that the glossary replaces
REPLACED = {
    "slip": "context noise",
    "slips": "context noise",
    "lacks": "ablated inputs",
    "crew": "worker pool",
    "craft": "worker factory",
    "hire": "start a worker",
    "apart": "distributed",
    "rehearsal": "dry run",
    "rehearse": "dry run",
    "keyhole": "limited observer",
    "keyholes": "limited observers",
    "damage": "perturbation",
    "damages": "perturbations",
    "faces": "hf_evaluate",
    "catalogue": "run index",
}
#: replaced as names of modules only; in other identifiers they are plain English. The folder gives
#: the meaning of `diagnostics/passes`, `live/screen` and `strategies/tokens`
REPLACED_MODULES = {
    "ahead", "begin", "backbone", "fitting", "places", "reading", "together", "alone", "cache", "teacher", "watching", "live",
    "changed", "counts", "shares", "store", "derived", "finish", "forced", "tools", "front", "noise", "judge", "hands",
    "stopwatch", "plugins", "staging", "terminal",
}  # fmt: skip


def sources():
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def words_of(identifier):
    return re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)


def test_public_names_are_defined_once():
    places = defaultdict(list)
    for file in sources():
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                places[node.name].append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_identifiers_have_no_replaced_word():
    found = []
    for file in sources():
        with tokenize.open(file) as stream:
            for token in tokenize.generate_tokens(io.StringIO(stream.read()).readline):
                if token.type == tokenize.NAME:
                    old = [word for word in words_of(token.string) if word.lower() in REPLACED]
                    found += [f"{file.relative_to(ROOT)}:{token.start[0]} {token.string}" for _ in old]
    assert not found


def test_modules_have_no_replaced_name():
    assert not [file for file in sources() if file.stem in {*REPLACED_MODULES, *REPLACED}]


@pytest.mark.parametrize(
    "file", sorted((ROOT / "prospect_core/train/conf").rglob("*.yaml")), ids=lambda file: file.stem
)
def test_configuration_keys_have_no_replaced_word(file):
    def keys(node):
        for key, value in node.items() if isinstance(node, dict) else ():
            yield key
            yield from keys(value)

    assert not [key for key in keys(yaml.safe_load(file.read_text("utf-8"))) if set(words_of(str(key))) & set(REPLACED)]


def test_commands_have_no_replaced_word():
    from prospect_core.cli.commands import prospect
    from prospect_eval.cli.commands import prospect_eval

    def names(command):
        yield command.name or ""
        for parameter in command.params:
            yield from parameter.opts
        for below in getattr(command, "commands", {}).values():
            yield from names(below)

    said = [*names(prospect), *names(prospect_eval)]
    assert not [name for name in said if set(words_of(name)) & {*REPLACED, "front"}]
    assert "noise-floor" in said
    assert "noise" not in said


EXAMPLE = re.compile(r"from (prospect_(?:core|eval)[\w.]*) import ([\w, ]+)")


def names_defined_in(module):
    path = ROOT / module.replace(".", "/")
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    defined = {child.stem for child in path.iterdir()} if path.is_dir() else set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.alias):
            defined.add(node.asname or node.name)
        elif isinstance(node, ast.Name):
            defined.add(node.id)
    return defined


def test_examples_import_existing_names():
    """Examples in docstrings, documentation and templates, which no linter checks."""
    texts = [
        *sources(),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
        *ROOT.glob("prospect_core/templates/*/*.txt"),
    ]
    missing = []
    for file in texts:
        for module, names in EXAMPLE.findall(file.read_text("utf-8")):
            wanted = {name.split(" as ")[0].strip() for name in names.split(",")} - {"", "*"}
            missing += [f"{file.name}: {module}.{name}" for name in sorted(wanted - names_defined_in(module))]
    assert not missing
