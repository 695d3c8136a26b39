"""Published result files of StreamingBench's multiple choice: files of questions with the response under a model's key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prospect_core.util.errors import DataError, UserError, did_you_mean
from prospect_eval.suites.benchmark import ReadCounts
from prospect_eval.suites.published_files import list_names, list_result_files, read_json_list
from prospect_eval.suites.streamingbench_choices.annotations import (
    PlacedChoiceQuestion,
    StreamingChoiceAnnotations,
    StreamingChoiceQuestion,
    find_choice_part,
    list_choice_questions,
)

#: keys of a question that hold no response
_FIELDS = frozenset(
    {
        "task_type",
        "task",
        "question",
        "time_stamp",
        "timestamp",
        "options",
        "answer",
        "required_ability",
        "audio_path",
        "results",
    }
)


@dataclass(frozen=True)
class StreamingChoiceRow:
    """The response to one question; None for a null. The published scorer reads the question's answer in the result file."""

    question: StreamingChoiceQuestion
    response: str | None


@dataclass(frozen=True)
class StreamingChoiceResults:
    """The responses of one model.

    Attributes:
        rows: Questions that have the model's key.
        absent: Questions of the files without the key.
        counts: Questions read by part, and those left out by reason.
    """

    rows: tuple[StreamingChoiceRow, ...]
    absent: tuple[StreamingChoiceQuestion, ...] = ()
    counts: ReadCounts = field(default_factory=lambda: ReadCounts({}))


def read_streaming_choice_results(
    paths: Sequence[Path], annotations: StreamingChoiceAnnotations, model: str | None = None
) -> StreamingChoiceResults:
    """Read the responses of one model.

    Args:
        paths: Files of questions with responses, or folders of them.
        annotations: A question that they hold keeps its part and its id.
        model: The model's key; None where the files hold one model.

    Raises:
        DataError: A file of another kind, or files without any response.
        UserError: Several models and no ``model``, or a ``model`` that no question has.
    """
    files = list_result_files(paths, (".json",))
    placed: list[PlacedChoiceQuestion] = []
    refused: list[str] = []
    for file in files:
        for found in list_choice_questions(find_choice_part(file), read_json_list(file, "results of StreamingBench")):
            if isinstance(found, str):
                refused.append(found)
            else:
                known = annotations.by_key.get(found.question.key, found.question)
                placed.append(PlacedChoiceQuestion(known, found.fields))
    where = list_names(files)
    if not placed:
        raise DataError(f"{where}: not results of StreamingBench ({'; '.join(sorted(set(refused))) or 'no question'})")
    key = _choose_key(where, placed, model)
    rows = [StreamingChoiceRow(one.question, _read_response(one, key)) for one in placed if key in one.fields]
    absent = tuple(one.question for one in placed if key not in one.fields)
    return StreamingChoiceResults(tuple(rows), absent, ReadCounts.of((one.question.part for one in placed), refused))


def _read_response(placed: PlacedChoiceQuestion, key: str) -> str | None:
    value = placed.fields[key]
    return value if isinstance(value, str) else None


def _list_keys(placed: Iterable[PlacedChoiceQuestion]) -> list[str]:
    found = Counter(
        key
        for one in placed
        for key, value in one.fields.items()
        if key not in _FIELDS and (value is None or isinstance(value, str))
    )
    return [key for key, _ in found.most_common()]


def _choose_key(where: str, placed: Sequence[PlacedChoiceQuestion], model: str | None) -> str:
    keys = _list_keys(placed)
    if model is not None:
        if model not in keys:
            names = list_names(keys) or "none"
            raise UserError(
                f"{where}: no question has the model key {model!r}; keys: {names}{did_you_mean(model, keys)}"
            )
        return model
    if not keys:
        raise DataError(f"{where}: no question has a response under a model's key")
    if len(keys) > 1:
        raise UserError(f"{where}: holds several models; name one of {list_names(keys)}")
    return keys[0]
