"""The command that asks an LLM judge: judge.

prospect-eval judge runs/first --endpoint http://127.0.0.1:8000/v1 --model m
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prospect_core.util.console import json_option, print_json_option, progress_bar
from prospect_eval.cli.official_tables import print_official_table
from prospect_eval.cli.options import add_endpoint_options
from prospect_eval.cli.tables import print_judge_table

if TYPE_CHECKING:
    from prospect_eval.models.chat_client import Endpoint


@click.command("judge")
@click.argument("folder", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--endpoint", required=True, metavar="URL", help="OpenAI-compatible API, such as http://127.0.0.1:8000/v1."
)
@click.option("--model", required=True, help="Name of the LLM judge at the endpoint.")
@click.option(
    "--repeats", type=click.IntRange(1, 20), default=3, show_default=True, help="Number of judgments per dialogue."
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=4, show_default=True, help="Number of parallel requests."
)
@add_endpoint_options
@click.option(
    "--max-tokens", type=click.IntRange(min=64), default=700, show_default=True, help="Maximum tokens of a reply."
)
@click.option(
    "--only",
    type=click.Choice(["dialogues", "official"]),
    help="Grade only the dialogues, or only the replies that official values need [default: both].",
)
@json_option
def judge_command(folder: Path, json_: str | None, only: str | None, **given: Any) -> None:
    """Let a language model grade the dialogues of a run.

    Sends the dialogues to the endpoint and writes judge.json to the run folder. For a run of a published benchmark whose
    official values need an LLM judge, it also asks for these verdicts and updates official.json and the report.
    """
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json
    from prospect_eval.analysis.llm_judge import judge_records
    from prospect_eval.models.chat_client import Endpoint
    from prospect_eval.runs.folder import read_run_folder_records
    from prospect_eval.scoring.official_runs import needs_official_verdicts

    config, records = read_run_folder_records(folder)
    chat = Endpoint(
        given["endpoint"],
        given["model"],
        given["key_variable"],
        given["timeout"],
        options=given["request_options"],
    )
    official: dict[str, Any] | None = None
    if only == "official" or (only is None and needs_official_verdicts(config)):
        official = _judge_officially(folder, chat, given["max_tokens"])
    result: dict[str, Any] = {}
    if only != "official":
        with progress_bar("judge") as advance:
            result = judge_records(records, chat, given["repeats"], given["workers"], given["max_tokens"], advance)
        write_atomic(folder / "judge.json", dump_json(result, indent=1) + "\n")
    if print_json_option(json_, lambda: {**result, **({"official": official} if official else {})}):
        if official:
            print_official_table(official)
        if result:
            print_judge_table(result)


def _judge_officially(folder: Path, chat: Endpoint, max_tokens: int) -> dict[str, Any] | None:
    """Ask for the verdicts of a run, store them and score the run officially again.

    Returns:
        The contents of ``official.json``.
    """
    from prospect_core.util.json_io import dump_json
    from prospect_eval.models.chat_reply import NoReplyError
    from prospect_eval.runs.folder import hold_run_folder, read_run_folder_records
    from prospect_eval.scoring.official_runs import collect_official_verdicts, store_official_scores
    from prospect_eval.scoring.official_scores import read_official_scores
    from prospect_eval.scoring.official_verdicts import write_official_verdicts
    from prospect_eval.suites.cached_judge import NoVerdictError

    def ask(prompt: str) -> str:
        try:
            return chat.complete([{"role": "user", "content": prompt}], 0.0, 1.0, max_tokens).text
        except NoReplyError as error:
            raise NoVerdictError(str(error)) from error

    options = dict(sorted(chat.options.items()))
    key = dump_json([chat.url, chat.model, max_tokens, options])
    name = f"{chat.model} {dump_json(options)}" if options else chat.model
    with hold_run_folder(folder):
        config, records = read_run_folder_records(folder)
        write_official_verdicts(folder, collect_official_verdicts(config, records, ask, name, key))
        store_official_scores(folder, config, records)
        _update_report(folder)
    return read_official_scores(folder)


def _update_report(folder: Path) -> None:
    """Write the report of a scored run again."""
    from prospect_eval.report.pages.run_page import write_run_page
    from prospect_eval.runs.folder import read_run_folder_records
    from prospect_eval.runs.schemas import read_metrics_schema
    from prospect_eval.scoring.run_resources import open_run_resources

    if (folder / "report.html").is_file() and (folder / "metrics.json").is_file():
        config, records = read_run_folder_records(folder)
        write_run_page(folder, config, records, read_metrics_schema(folder), open_run_resources(folder))
