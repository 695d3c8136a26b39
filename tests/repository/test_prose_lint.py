"""The prose linter: each rule in each kind of source, and the repository itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.helpers.ci_scripts import PROSE, prose_module
from tests.helpers.paths import ROOT

prose_lint = prose_module("prose_lint")
passages = prose_module("passages")

REJECT = prose_lint.RejectList("anew\tagain\nat once\ttogether\n^what\\b(?![^?]*\\?)\ta noun\n")


@pytest.fixture
def check(tmp_path):
    """check(name, text): [(line, rule, found)] of a file of that name below a repository."""

    def checked(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        result = prose_lint.check(path, tmp_path, REJECT)
        return [(finding.line, finding.rule, finding.found) for finding in result.findings]

    return checked


PLANTED = {
    "paragraph": ("docs/a.md", "# A\n\nIt runs\nanew.\n", 4),
    "list item": ("docs/a.md", "* one\n* It runs anew.\n", 2),
    "table cell": ("docs/a.md", "| a | b |\n|---|---|\n| x | runs anew |\n", 3),
    "heading": ("docs/a.md", "text\n\n## Run anew\n", 3),
    "link text": ("docs/a.md", "See [it anew](x.md).\n", 1),
    "quotation": ("docs/a.md", "> It runs anew.\n", 1),
    "words on two lines": ("docs/a.md", "All of it at\nonce.\n", 1),
    "other letter case": ("docs/a.md", "Anew it runs.\n", 1),
    "module docstring": ("prospect_core/a.py", '"""Run.\n\nAnd anew.\n"""\n', 3),
    "function docstring": ("tests/a.py", 'def a():\n    """Run anew."""\n', 2),
    "argument of a docstring": (
        "benchmarks/a.py",
        'def a(b):\n    """Run.\n\n    Args:\n        b: Runs anew.\n    """\n',
        5,
    ),
    "attribute docstring": ("prospect_core/a.py", 'A = 1\n"""Run anew."""\n', 2),
    "comment line": ("tests/a.py", "x = 1\n\n# it runs\n# anew\n", 4),
    "comment after code": ("prospect_eval/a.py", "x = '#'  # anew\n", 1),
    "comment of an attribute": ("prospect_eval/a.py", "#: anew\nx = 1\n", 1),
    "option help": ("prospect_eval/a.py", 'option("--a", help="Run all of it anew.")\n', 1),
    "error": ("prospect_core/a.py", 'raise UserError(\n    f"{a} is bad;"\n    f" make {b} anew"\n)\n', 3),
    "log": ("prospect_core/a.py", 'logger.debug("file %s is made anew", a)\n', 1),
    "string in an f-string": ("prospect_core/a.py", "\nx = f\"{'made it all anew' if y else ''}\"\n", 2),
    "template text": ("report/a.html.j2", "<p>{{ x }}\n  <b>made</b> anew</p>\n", 2),
    "title of an element": ("report/a.html.j2", '<p>a</p>\n<i title="made anew"></i>\n', 2),
    "string of a template": ("report/a.html.j2", "<p>\n{{ 'all made anew' if x }}</p>\n", 2),
    "script of a template": ("report/a.html.j2", "<script>\nf('all made anew');\n</script>\n", 2),
    "JavaScript string": ("static/a.js", "// x\nlet a = `all ${b.c} made anew`;\n", 2),
    "JavaScript comment": ("static/a.js", "let a; // anew\n", 1),
    "style comment": ("static/a.css", "a {}\n/* anew */\n", 2),
    "drawing": ("docs/a.svg", "<svg>\n<text>made anew</text></svg>\n", 2),
    "configuration": ("conf/a.yaml", "a: 1\nb: 2  # anew\n", 2),
    "Makefile": ("Makefile", "a:\n# anew\n\tb\n", 2),
    "template of code": ("templates/a/module.py.txt", '"""Run $name anew."""\n', 1),
}


@pytest.mark.parametrize(("name", "text", "line"), PLANTED.values(), ids=PLANTED)
def test_prose_lint_rejected_word_names_line(check, name, text, line):
    ((found_line, rule, _),) = check(name, text)
    assert (found_line, rule) == (line, "word")


CLEAN = {
    "inline code": ("docs/a.md", "Run `anew` and ``at once``.\n"),
    "code block": ("docs/a.md", "Text.\n\n```console\n$ anew\n```\n"),
    "indented code block": ("docs/a.md", "* Text.\n  ```\n  anew\n  ```\n"),
    "link target": ("docs/a.md", "See [it](anew.md) and <https://example.org/anew>.\n"),
    "HTML comment": ("docs/a.md", "<!-- anew -->\nText.\n"),
    "part of a word": ("docs/a.md", "The manewer.\n"),
    "code in a docstring": ("prospect_core/a.py", '"""Run ``anew``::\n\n    anew --at once\n\n>>> anew\n"""\n'),
    "name of an argument": ("prospect_core/a.py", '"""Run.\n\nArgs:\n    anew: A number.\n"""\n'),
    "option": ("prospect_core/a.py", '"""Run x --anew a/anew anew_one."""\n'),
    "string of a test": ("tests/a.py", 'say("it is made anew")\n'),
    "key of few words": ("prospect_core/a.py", 'x["anew"] = "made anew"\n'),
    "utterance of the workbench": ("prospect_core/workbench/dialogue/a.py", 'x = "do all of it anew"\n'),
    "value of a template": ("report/a.html.j2", "<p>text {{ anew }}</p><style>.anew {}</style>\n"),
    "hash in a string": ("prospect_core/a.py", "x = '# anew'\n"),
    "directive": ("prospect_core/a.py", "import a  # noqa: anew\n"),
    "question": ("docs/a.md", "What is measured? All is.\n"),
    "label of a column": ("docs/a.md", "| What | b |\n|---|---|\n"),
}


@pytest.mark.parametrize(("name", "text"), CLEAN.values(), ids=CLEAN)
def test_prose_lint_ignores_words_outside_prose(check, name, text):
    assert check(name, text) == []


def test_prose_lint_sentence_start_expression(check):
    found = check("docs/a.md", "It shows what is new. What is new is shown.\n\n## What is new\n")
    assert found == [(1, "word", '"What"'), (3, "word", '"What"')]


def test_prose_lint_finding_has_replacement(tmp_path):
    file = tmp_path / "a.md"
    file.write_text("Made anew.\n")
    (finding,) = prose_lint.check(file, tmp_path, REJECT).findings
    assert str(finding) == 'a.md:1: word: "anew" -> again'


@pytest.mark.parametrize("line", ["anew", "anew again"])
def test_reject_list_entry_without_replacement_raises(line):
    with pytest.raises(ValueError, match="holds no tab"):
        prose_lint.RejectList(line)


@pytest.mark.parametrize(
    ("name", "before", "after", "limit"),
    [
        ("docs/a.md", "", "", 40),
        ("docs/a.md", "| ", " |", 40),
        ("prospect_core/a.py", '"""', '"""', 45),
        ("tests/a.py", "# ", "", 45),
        ("prospect_eval/a.py", 'fail("', '")', 45),
        ("static/a.js", 'f("', '")', 45),
        ("report/a.j2", "<p>", "</p>", 45),
    ],
)
def test_prose_lint_too_long_sentence_is_found(check, name, before, after, limit):
    sentence = " ".join(["word"] * (limit - 1))
    assert check(name, f"{before}Short one. Some {sentence}.{after}\n") == []
    (found,) = check(name, f"{before}Short one. Some long {sentence}.{after}\n")
    assert found == (1, "length", f'{limit + 1} words from "Some long word word word"')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three! four", ["One.", "Two?", "Three! four"]),
        ("See e.g. Ross et al. 2011. Then stop.", ["See e.g. Ross et al. 2011.", "Then stop."]),
        ("From 1 .. 10 s at 0.5 fps. (Or so.) XXX ends.", ["From 1 .. 10 s at 0.5 fps.", "(Or so.)", "XXX ends."]),
    ],
)
def test_sentences_of_splits_at_sentence_starts(text, expected):
    assert [sentence.text for sentence in prose_lint.sentences_of(text)] == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("The file is written.", True),
        ("The file was not fully written to disk.", True),
        ("All are being measured.", True),
        ("The file is red.", False),
        ("The command writes the file.", False),
        ("They are hundred.", False),
        ("It is a rejected word.", False),
    ],
)
def test_is_passive_needs_form_of_be_and_participle(sentence, expected):
    assert prose_lint.is_passive(sentence) is expected


def test_prose_lint_passive_page_is_found(check):
    active, passive = "It writes a file. ", "A file is written. "
    assert check("docs/a.md", active * 13 + passive * 7) == []
    assert check("docs/a.md", active * 12 + passive * 8) == [(1, "passive", "40% of 20 sentences")]
    # five sentences are too few for a share
    assert check("docs/a.md", passive * 5) == []


def test_prose_lint_notebook_cell_names_line(check):
    cells = [
        {"cell_type": "code", "source": ["# anew\n"]},
        {"cell_type": "markdown", "source": ["# Plot\n", "\n", "Run it anew.\n"]},
    ]
    text = json.dumps({"cells": cells}, indent=1)
    line = text.splitlines().index('    "Run it anew.\\n"') + 1
    assert check("docs/a.ipynb", text) == [(line, "word", '"anew"')]


def run(folder, *arguments):
    command = [sys.executable, PROSE / "prose_lint.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "good.md").write_text("It runs again.\n")
    (tmp_path / "bad.md").write_text("It runs anew.\n")
    return tmp_path


def test_prose_lint_command_prints_findings_and_fails(repository):
    done = run(repository)
    assert (done.returncode, done.stdout) == (1, 'bad.md:1: word: "anew" -> again\n')


def test_prose_lint_command_clean_file_prints_nothing(repository):
    done = run(repository, "good.md")
    assert (done.returncode, done.stdout) == (0, "")


def test_prose_lint_command_skips_ignored_files(repository):
    (repository / ".gitignore").write_text("bad.md\n")
    assert run(repository).returncode == 0


def test_prose_lint_count_prints_rules_and_passive_share(repository):
    done = run(repository, "--count")
    assert done.stdout.splitlines() == [
        "bad.md: word 1, passive sentences 0% of 1",
        "good.md: passive sentences 0% of 1",
        "total: word 1",
    ]


def test_reject_list_compiles_without_duplicates():
    entries = [entry.pattern for entry, _ in prose_lint.RejectList(prose_lint.REJECT.read_text("utf-8")).entries]
    assert len(entries) == len(set(entries))


def test_repository_has_no_prose_finding():
    reject = prose_lint.RejectList(prose_lint.REJECT.read_text("utf-8"))
    findings = [
        finding for file in prose_lint.files_below([ROOT]) for finding in prose_lint.check(file, ROOT, reject).findings
    ]
    assert [str(finding) for finding in findings] == []
