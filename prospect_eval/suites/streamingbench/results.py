"""Published result files of StreamingBench, Proactive Output: files of questions with ``dialog_history`` under a model's key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prospect_core.util.errors import DataError, UserError, did_you_mean
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.published_files import list_names, list_result_files, read_json_list, read_number
from prospect_eval.suites.streamingbench.annotations import (
    PlacedQuestion,
    ProactiveAnnotations,
    ProactiveOutputQuestion,
    list_questions,
)

#: why a question has no last turn: the published scorer stops on all of them but ``read``
HistoryState = Literal["read", "null", "empty history", "unreadable"]


@dataclass(frozen=True)
class LastTurn:
    """The last turn of a dialog, which alone is scored.

    Attributes:
        time: In seconds of the video.
        text: Text of the turn; None where it is no text.
        role: Role of the speaker; a turn of the user counts too.
    """

    time: float
    text: str | None
    role: str = "assistant"


@dataclass(frozen=True)
class ProactiveRow:
    """The prediction for one question.

    Attributes:
        question: The question as the result file has it; the published scorer reads its gold time and output.
        turn: The last turn; None where there is none.
        state: How the history was read.
    """

    question: ProactiveOutputQuestion
    turn: LastTurn | None
    state: HistoryState = "read"


@dataclass(frozen=True)
class ProactiveResults:
    """The predictions of one model.

    Attributes:
        model: The key of the model.
        rows: Questions that have the key.
        absent: Questions of the files without the key, which the published scorer leaves out.
        counts: Questions read, and those left out by reason.
    """

    model: str
    rows: tuple[ProactiveRow, ...]
    absent: tuple[ProactiveOutputQuestion, ...] = ()
    counts: ReadCounts = field(default_factory=lambda: ReadCounts({}))


def read_proactive_results(
    paths: Sequence[Path], annotations: ProactiveAnnotations, model: str | None = None
) -> ProactiveResults:
    """Read the predictions of one model.

    Args:
        paths: Files of questions with predictions, or folders of them.
        annotations: Not used: the files repeat the questions.
        model: The model's key; None where the files hold one model.

    Raises:
        DataError: A file of another kind, or files without any prediction.
        UserError: Several models and no ``model``, or a ``model`` that no question has.
    """
    files = list_result_files(paths, (".json",))
    placed: list[PlacedQuestion] = []
    refused: list[str] = []
    for file in files:
        for found in list_questions(read_json_list(file, "results of StreamingBench")):
            if isinstance(found, str):
                refused.append(found)
            else:
                placed.append(found)
    where = list_names(files)
    if not placed:
        reasons = "; ".join(sorted(set(refused))) or "no question"
        raise DataError(f"{where}: not results of StreamingBench ({reasons})")
    key = _choose_model(where, placed, model)
    rows = tuple(_read_row(found, key) for found in placed if key in found.fields)
    absent = tuple(found.question for found in placed if key not in found.fields)
    return ProactiveResults(key, rows, absent, ReadCounts.of(["questions"] * len(placed), refused))


def list_model_keys(placed: Sequence[PlacedQuestion]) -> list[str]:
    """Keys under which a question has a ``dialog_history``, most frequent first."""
    found = Counter(key for question in placed for key in _keys_with_history(question.fields))
    return [key for key, _ in found.most_common()]


def _keys_with_history(fields: dict[str, Any]) -> Iterator[str]:
    for key, value in fields.items():
        if isinstance(value, dict) and "dialog_history" in value:
            yield key


def _choose_model(where: str, placed: Sequence[PlacedQuestion], model: str | None) -> str:
    keys = list_model_keys(placed)
    if model is not None:
        if not any(_may_be_model(question.fields, model) for question in placed):
            names = list_names(keys) or "none"
            raise UserError(
                f"{where}: no question has the model key {model!r}; keys: {names}{did_you_mean(model, keys)}"
            )
        return model
    if not keys:
        raise DataError(f"{where}: no question has a dialog_history under a model's key")
    if len(keys) > 1:
        raise UserError(f"{where}: holds several models; name one of {list_names(keys)}")
    return keys[0]


def _may_be_model(fields: dict[str, Any], key: str) -> bool:
    """Whether the key holds a prediction or a null, and not a field of the question."""
    return key in fields and (fields[key] is None or isinstance(fields[key], dict))


def _read_row(placed: PlacedQuestion, key: str) -> ProactiveRow:
    value = placed.fields[key]
    if value is None:
        return ProactiveRow(placed.question, None, "null")
    history = value.get("dialog_history") if isinstance(value, dict) else None
    if not isinstance(history, list):
        return ProactiveRow(placed.question, None, "unreadable")
    if not history:
        return ProactiveRow(placed.question, None, "empty history")
    last = history[-1]
    time = read_number(last.get("time")) if isinstance(last, dict) else None
    if time is None:
        return ProactiveRow(placed.question, None, "unreadable")
    text, role = last.get("content"), last.get("role")
    turn = LastTurn(
        time=time,
        text=text if isinstance(text, str) else None,
        role=role if isinstance(role, str) else "",
    )
    return ProactiveRow(placed.question, turn)
