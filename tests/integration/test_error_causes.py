"""An error is one line for the user; ``--debug`` shows its cause, in this process or in another."""

from __future__ import annotations

import ast
import json
import logging
from dataclasses import dataclass, replace
from types import SimpleNamespace

import click
import pytest

from prospect_core.cli.commands import prospect
from prospect_core.data.frame_format import FrameFormat
from prospect_core.features import decode_pool
from prospect_core.features.decode_pool import decode_videos_in_pool
from prospect_core.parallel.process_pool import open_process_pool
from prospect_core.parallel.protocol import WorkerOptions
from prospect_core.parallel.scheduler import schedule_jobs
from prospect_core.records import Knobs
from prospect_core.train import run as training
from prospect_core.train.config.trainer_option_errors import translate_trainer_option_errors
from prospect_core.train.setup import trainer_arguments
from prospect_core.util.console import Commands
from prospect_core.util.errors import EXIT_DEFECT, DataError, GateFailedError, UserError
from prospect_eval.cli.commands import prospect_eval
from prospect_eval.runs.executor import keep_executor_result
from prospect_eval.runs.folder import RunConfig
from prospect_eval.scoring import parallel
from prospect_eval.scoring.shards import RecordShard
from tests.helpers.commands import call, one_line, run_cli
from tests.helpers.failing import (
    Failing,
    carry_a_chain,
    carry_what_cannot_be_pickled,
    planted,
    planted_value_error,
)
from tests.helpers.paths import ROOT
from tests.helpers.tiers import slow
from tests.helpers.training import SMALL

DIRECT_CAUSE = "The above exception was the direct cause of the following exception"
ONE_STEP = [*SMALL, "train.max_steps=1"]
ERRORS = {
    "user": lambda: UserError("told to the user"),
    "data": lambda: DataError("told to the user"),
    "system": lambda: OSError("told to the user"),
    "usage": lambda: click.UsageError("told to the user"),
}
EXIT_CODES = {"user": 2, "data": 3, "system": 3, "usage": 2}


@pytest.fixture
def program():
    """A program of one command, and of a group with the same command."""

    @click.group(cls=Commands)
    @click.option("--debug", is_flag=True)
    def main(debug):
        pass

    @click.command()
    @click.argument("kind")
    @click.argument("rest", nargs=-1)
    def fail(kind, rest):
        try:
            planted()
        except TypeError as error:
            raise ERRORS[kind]() from error

    main.add_command(fail)
    group = click.Group("data")
    group.add_command(fail)
    main.add_command(group)
    return main


@pytest.mark.parametrize("kind", ["user", "data", "system"])
def test_main_without_debug_prints_one_line(program, kind, capsys):
    assert call(program, "fail", kind) == EXIT_CODES[kind]
    assert one_line(capsys) == "error: told to the user"


@pytest.mark.parametrize("kind", list(ERRORS))
def test_main_with_debug_prints_causes_and_line(program, kind, capsys):
    assert call(program, "--debug", "fail", kind) == EXIT_CODES[kind]
    printed = capsys.readouterr().err
    assert "in planted" in printed
    assert 'raise TypeError("a planted bug")' in printed
    assert DIRECT_CAUSE in printed
    assert printed.splitlines()[-1].lower() == "error: told to the user"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--debug", "fail", "user"],
        ["fail", "--debug", "user"],
        ["fail", "user", "--debug"],
        ["--debug", "data", "fail", "user"],
        ["data", "--debug", "fail", "user"],
        ["data", "fail", "user", "--debug"],
        ["data", "fail", "--debug", "--", "user", "--debug"],
    ],
)
def test_debug_option_anywhere_is_accepted(program, arguments, capsys):
    assert call(program, *arguments) == 2
    assert "in planted" in capsys.readouterr().err


def test_debug_after_two_dashes_is_argument(program, capsys):
    assert call(program, "fail", "user", "--", "--debug") == 2
    assert one_line(capsys) == "error: told to the user"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (prospect, ["data", "check"]),
        (prospect_eval, ["show"]),
    ],
)
@pytest.mark.parametrize("position", [0, None])
def test_debug_both_programs_print_traceback(command, arguments, position, tmp_path, capsys):
    given = [*arguments, tmp_path / "nowhere"]
    code = call(command, *given)
    line = one_line(capsys)
    given.insert(len(given) if position is None else position, "--debug")
    assert call(command, *given) == code
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback")
    assert printed.splitlines()[-1] == line


def test_debug_output_escapes_control_characters(program, capsys, monkeypatch):
    monkeypatch.setitem(ERRORS, "user", lambda: UserError("told \x1b[31m to the user"))
    assert call(program, "--debug", "fail", "user") == 2
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert r"\x1b[31m" in printed


def test_debug_log_is_shown_and_removed(capsys):
    @click.command(cls=Commands, invoke_without_command=True)
    @click.option("--debug", is_flag=True)
    def main(debug):
        logging.getLogger("prospect_core.anything").debug("an error that was passed over")

    assert call(main, "--debug") == 0
    assert "an error that was passed over" in capsys.readouterr().err
    assert call(main, "--version") == 2
    capsys.readouterr()
    logging.getLogger("prospect_core.anything").debug("an error that was passed over")
    assert capsys.readouterr().err == ""
    assert logging.getLogger("prospect_core").handlers == []


def test_debug_shows_low_level_cause_of_data_error(tmp_path, monkeypatch, capsys):
    """A file that is not UTF-8 is refused in one line; the decoder's own error is the cause."""
    suite = tmp_path / "suite.yaml"
    suite.write_bytes(b"\xff\xfe\xff")
    arguments = ["run", "--ckpt", "oracle", "--suite", suite, "--output", tmp_path / "out"]
    assert call(prospect_eval, *arguments) == 2
    line = one_line(capsys)
    assert "not UTF-8 text" in line
    assert call(prospect_eval, "--debug", *arguments) == 2
    printed = capsys.readouterr().err
    assert "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff" in printed
    assert DIRECT_CAUSE in printed
    assert printed.splitlines()[-1] == line


@pytest.mark.parametrize(
    "planted_at",
    [
        ("prospect_core.train.setup.model_factory.train_tokenizer", planted),
        ("prospect_core.train.setup.model_factory.initialize_model_weights", planted_value_error),
        ("prospect_core.train.setup.model_factory.freeze_model_factory_parts", planted),
        ("prospect_core.train.trainer.DSTTrainer.add_callback", planted),
        ("prospect_core.train.trainer.DSTTrainer.add_callback", planted_value_error),
        slow(("prospect_core.train.trainer.DSTTrainer.compute_loss", planted)),
        slow(("prospect_core.train.trainer.DSTTrainer.get_batch_samples", planted_value_error)),
    ],
)
def test_train_command_bug_in_model_is_no_usage_error(planted_at, short_world, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(*planted_at)
    assert call(prospect, "train", f"data={short_world.root}", f"output={tmp_path / 'x'}", *ONE_STEP) == EXIT_DEFECT
    assert "Error: a planted bug" in capsys.readouterr().err


def test_train_command_bug_in_arguments_is_no_usage_error(short_world, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trainer_arguments, "_higher_is_better", planted_value_error)
    given = ("train", f"data={short_world.root}", f"output={tmp_path / 'x'}", *ONE_STEP, "eval.every=1")
    assert call(prospect, *given) == EXIT_DEFECT
    assert "ValueError: a planted bug" in capsys.readouterr().err


@pytest.mark.parametrize(
    "ending",
    [
        (lambda: TypeError("a planted bug"), EXIT_DEFECT, "internal error (TypeError)"),
        (lambda: LookupError("no such corpus"), EXIT_DEFECT, "internal error (LookupError)"),
        (lambda: MemoryError(), 3, "not enough memory"),
        (lambda: SystemExit(1), EXIT_DEFECT, ""),
        (lambda: SystemExit("a library gives up"), EXIT_DEFECT, "a library gives up"),
        (lambda: click.ClickException("told"), 2, "Error: told"),
        (lambda: click.FileError("x", "told"), 2, "Could not open file"),
        (lambda: UnicodeEncodeError("latin-1", "a茶", 1, 2, "x"), 3, "set PYTHONUTF8=1"),
        (lambda: UnicodeEncodeError("utf-8", "a\udce9", 1, 2, "x"), 3, "not valid UTF-8; rename the file"),
        (lambda: KeyboardInterrupt(), 130, "interrupted"),
        (lambda: GateFailedError(), 1, ""),
    ],
)
def test_exit_code_1_means_failed_gate(ending, program, capsys, monkeypatch):
    error, code, line = ending
    monkeypatch.setitem(ERRORS, "user", error)
    assert call(program, "fail", "user") == code
    printed = capsys.readouterr().err
    assert line in (printed.splitlines() or [""])[-1]
    assert ("Traceback" in printed) == (line.startswith("internal error"))


@pytest.fixture
def no_deepspeed(monkeypatch):
    # transformers keeps DeepSpeed's configuration in the process, even after refusing it
    monkeypatch.setattr("transformers.integrations.deepspeed._hf_deepspeed_config_weak_ref", None)


@pytest.mark.parametrize(
    ("override", "raised_in"),
    [
        ("train.optimiser=adamx", "training_args.py"),
        ("train.optimiser=adamw_bnb_8bit", "create_optimizer"),
        ("train.fsdp=full_shard", "trainer.py"),
        ("train.fsdp=no_such_option", "training_args.py"),
        ("train.deepspeed=/nowhere/ds.json", "deepspeed"),
        ("model.attention=bogus", "modeling_utils.py"),
        ("model.tokens_per_frame=16", "configuration.py"),
    ],
)
@pytest.mark.usefixtures("no_deepspeed")
def test_train_command_wrong_option_is_one_line_with_cause(override, raised_in, short_world, tmp_path, capsys):
    command = ["train", f"data={short_world.root}", f"output={tmp_path / 'x'}", *ONE_STEP, override]
    assert run_cli(*command, "--debug") == 2
    printed = capsys.readouterr().err
    assert DIRECT_CAUSE in printed
    assert raised_in in printed.split(DIRECT_CAUSE)[0]
    assert printed.splitlines()[-1].startswith(("error: train: ", "error: model: "))
    assert printed.count("\nerror: ") == 1


def test_train_command_multirun_passes_debug(tmp_path, monkeypatch):
    commands = []

    @dataclass
    class Done:
        returncode: int = 0

    monkeypatch.setattr("subprocess.run", lambda command: commands.append(command) or Done())
    command = ["train", "-m", "data=/d", f"output={tmp_path}", "loss=focal,plain"]
    assert run_cli("--debug", *command) == 0
    assert ["--debug" in given for given in commands] == [True, True]
    commands.clear()
    assert run_cli(*command) == 0
    assert ["--debug" in given for given in commands] == [False, False]


def test_trainer_option_errors_are_usage_errors():
    from transformers.training_args import OptimizerNames

    with (
        pytest.raises(UserError, match=r"^train: nothing is not a valid OptimizerNames") as raised,
        translate_trainer_option_errors("train"),
    ):
        OptimizerNames("nothing")
    assert isinstance(raised.value.__cause__, ValueError)


@pytest.mark.parametrize("bug", [planted, planted_value_error])
def test_trainer_option_errors_let_bugs_pass(bug):
    with pytest.raises((TypeError, ValueError), match="a planted bug"), translate_trainer_option_errors("train"):
        bug()


def test_debug_shows_line_of_loader_process(short_world, tmp_path, capsys):
    command = ["train", f"data={short_world.root}", f"output={tmp_path / 'x'}", *ONE_STEP]
    command += ["sampling.max_tokens=20", "data.workers=1"]
    assert run_cli(*command, "--debug") == 2
    printed = capsys.readouterr().err
    before, after = printed.split(DIRECT_CAUSE)
    assert "in DataLoader worker process 0" in before
    assert "window_sampler.py" in before
    assert printed.splitlines()[-1].startswith("error: sampling.max_tokens=20: frame")
    assert "Caught" not in after


def test_training_error_of_several_lines_is_kept():
    class Training:
        args = SimpleNamespace(world_size=1)

        def train(self, resume_from_checkpoint):
            raise DataError("first line\nsecond line")

    with pytest.raises(DataError, match=r"^first line\nsecond line$"):
        training._train_or_resume(Training(), None, print)


@pytest.mark.parametrize(
    ("bug", "kind", "line"),
    [
        (False, DataError, 'raise DataError(f"{job} is broken")'),
        (True, TypeError, 'raise TypeError("a planted bug")'),
    ],
)
@pytest.mark.parametrize("backend", ["process", pytest.param("ray", marks=pytest.mark.nightly)])
def test_worker_pool_error_has_line_of_worker(backend, bug, kind, line):
    if backend == "ray":
        pytest.importorskip("ray")
    with pytest.raises(kind) as raised:
        list(schedule_jobs(Failing(bug), [["job"]], WorkerOptions(1, backend)))
    assert line in str(raised.value.__cause__)


@pytest.fixture
def two_records(short_world, tmp_path, monkeypatch):
    """A record for this process and one for another process."""
    from prospect_core.util.json_io import dump_json
    from prospect_eval.models.baselines.trivial import make_trivial_baseline

    monkeypatch.setattr("os.cpu_count", lambda: 2)
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    for file, episode in zip(files, short_world.episodes("test"), strict=False):
        file.write_text(dump_json(make_trivial_baseline("oracle", [])(episode)), "utf-8")
    return files


def test_scoring_process_bug_has_line(two_records, monkeypatch):
    # the other process does not have this method
    monkeypatch.setattr(RecordShard, "no_such_question", lambda share: None, raising=False)
    with parallel.open_parallel_scoring_workers(two_records, None) as shards, pytest.raises(AttributeError) as raised:
        shards.ask("no_such_question")
    assert "in _serve" in str(raised.value.__cause__)


def test_scoring_process_damaged_record_has_line(two_records):
    two_records[1].write_text('{"schema": 1', "utf-8")
    with pytest.raises(DataError) as raised, parallel.open_parallel_scoring_workers(two_records, None):
        pass
    assert "json_io.py" in str(raised.value.__cause__)


def test_decode_pool_error_names_video(short_world, monkeypatch):
    monkeypatch.setattr(decode_pool, "choose_decode_pool_size", lambda episodes, size: 1)
    episode = next(short_world.episodes("test"))
    (found,) = decode_videos_in_pool(short_world, [replace(episode, video="videos/lost.mp4")], FrameFormat(16))
    assert isinstance(found, DataError)
    assert "in decode" in str(found.__cause__)


def test_process_pool_error_keeps_cause():
    with open_process_pool(1) as processes:
        found = processes.submit(carry_a_chain).result()
    assert isinstance(found, DataError)
    assert str(found) == "above"
    assert DIRECT_CAUSE in str(found.__cause__)
    assert 'raise ValueError("a planted bug")' in str(found.__cause__)


def test_process_pool_unpicklable_error_has_name():
    with open_process_pool(1) as processes:
        found = processes.submit(carry_what_cannot_be_pickled).result()
    assert isinstance(found, RuntimeError)
    assert str(found) == "UnpicklableError: first and second"
    assert "raise UnpicklableError" in str(found.__cause__)


def test_skipped_episode_is_logged_with_error(short_world, caplog):
    episode = next(short_world.episodes("test"))
    config = RunConfig("m", "", "", "", "test", None, Knobs(), "")
    with caplog.at_level(logging.DEBUG, "prospect_eval"):
        done = keep_executor_result(config, "m", episode, DataError("no picture"), "skip")
    assert json.loads(done.body)["error"] == "no picture"
    (record,) = caplog.records
    assert episode.id in record.getMessage()
    assert isinstance(record.exc_info[1], DataError)


def _sources():
    for folder in ("prospect_core", "prospect_eval", "benchmarks", "tests"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_packages_raise_nothing_from_none():
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in _sources()
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Raise) and isinstance(node.cause, ast.Constant) and node.cause.value is None
    ]
    assert found == []


def test_templates_raise_nothing_from_none():
    # they contain placeholders in place of names, so they cannot be parsed
    files = sorted((ROOT / "prospect_core" / "templates").rglob("*.txt"))
    assert files
    assert [file.name for file in files if "from None" in file.read_text("utf-8")] == []
