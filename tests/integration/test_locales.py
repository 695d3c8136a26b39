"""Terminals and locales that are not UTF-8: commands work, and files are UTF-8."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from prospect_core.util.standard_streams import (
    json_for_standard_stream,
    lenient_standard_streams,
    standard_stream_ascii,
)
from tests.helpers.commands import evaluate
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.integration

#: a locale with ASCII file names, and streams of another encoding
LOCALES = [
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


COMMANDS = {"prospect": "prospect_core.cli.commands", "prospect_eval": "prospect_eval.cli.commands"}


def program(name, *arguments, **environment):
    """Run a command in a separate process.

    Returns:
        (exit code, standard output, standard error) as bytes.
    """
    command = [
        sys.executable,
        "-c",
        f"from {COMMANDS[name]} import {name}; {name}(prog_name='x')",
        *map(str, arguments),
    ]
    where = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, capture_output=True, env=where, cwd=ROOT, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def oracle(short_world, tmp_path_factory):
    """A scored run of the oracle, with a baseline that it passes."""
    folder = tmp_path_factory.mktemp("locales")
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", folder / "run") == 0
    (folder / "rules.yaml").write_text("exact: [schema]\n", "utf-8")
    assert (
        evaluate("gate", folder / "run", "--baseline", folder / "b.json", "--update", "--rules", folder / "rules.yaml")
        == 0
    )
    return folder


def test_standard_stream_ascii_keeps_names():
    assert standard_stream_ascii("0.5 – 0.7 ± 0.1 … 茶") == r"0.5 - 0.7 +- 0.1 ... \u8336"


def test_lenient_streams_accept_any_text_and_are_restored(monkeypatch):
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, "latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    with lenient_standard_streams():
        stream.write("é – 茶")
        stream.flush()
    assert buffer.getvalue() == "é - \\u8336".encode("latin-1")
    assert stream.errors == "strict"


def test_json_for_standard_stream_is_lossless():
    stream = io.TextIOWrapper(io.BytesIO(), "latin-1")
    text = json.dumps({"é–茶": "𝄞"}, ensure_ascii=False)
    assert json_for_standard_stream(text, io.TextIOWrapper(io.BytesIO(), "utf-8")) == text
    written = json_for_standard_stream(text, stream)
    assert written.isascii()
    assert json.loads(written) == json.loads(text)


@pytest.mark.slow
@pytest.mark.parametrize("environment", LOCALES)
@pytest.mark.parametrize("command", ["gate", "show", "ls", "show --json"])
def test_commands_other_encoding_keep_exit_code(command, environment, oracle):
    name, *options = command.split()
    given = {"gate": [oracle / "run", "--baseline", oracle / "b.json"], "show": [oracle / "run"], "ls": [oracle]}[name]
    code, out, err = program("prospect_eval", name, *given, *options, **environment)
    assert (code, err) == (0, b"")
    if options:
        assert json.loads(out)["metrics"]


@pytest.mark.slow
def test_train_command_cfg_prints_in_other_encoding(tmp_path):
    given = ("train", f"data={tmp_path}", "output=x", "model.weights='é茶'", "--cfg")
    code, out, err = program("prospect", *given, PYTHONIOENCODING="latin-1")
    assert (code, err) == (0, b"")
    assert r"weights: é\u8336".encode("latin-1") in out
