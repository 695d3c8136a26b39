"""EgoProactive's official scores: macro F1 and geometric mean of the F1 of interrupting and of silent chunks.

Source: ``starter_kit/run_evaluation.py`` of facebook/wearable-ai, as mirrored in Sri427/wearable-ai-proactive at
20c9a63a6a83955c7cf86bf7311e2008c46fb938. The published values are rounded to 4 places; these are not.

Formula: a chunk is "interrupt" if its text, without leading white space, starts with ``$interrupt$``; else it is
"silent". Chunks of all sessions are pooled into tp, fp, tn, fn with interrupt as the positive class. Precision, recall
and F1 of each class are 0 where undefined; ``macro_f1`` is the mean of both F1, ``gmean_f1`` the square root of their
product.

Quirks, which the values keep:

* Rows are joined by their position; the video path is not compared.
* Only the first min(reference, prediction) chunks of a session count: cutting predictions short lifts the scores.
* A tag in another case, text, a quote, a zero-width character or a byte order mark before the tag make an answer silent.
* With one class absent from references and predictions, that class has F1 0: perfect on silence only scores 0.5.

The published scorer stops on other numbers of rows and on null rows, lists and answers. Here, a session with no row, a
null row or null answers is silent in every chunk (status ``missing``), and a null answer is silence (``failed``). A row
without the key ``answers`` has no scored chunk (``missing``), as in the published scorer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prospect_eval.suites.benchmark import make_values_of_totals
from prospect_eval.suites.egoproactive.annotations import ReferenceSession
from prospect_eval.suites.official_score import (
    ItemScore,
    ItemStatus,
    OfficialScore,
    OfficialValues,
    make_official_score,
    pool_item_totals,
)

INTERRUPT_TAG, SILENT_TAG = "$interrupt$", "$silent$"
ChunkClass = Literal["interrupt", "silent"]
#: names of the totals: chunks by (reference is interrupt, prediction is interrupt)
_CELLS = {(True, True): "tp", (False, True): "fp", (False, False): "tn", (True, False): "fn"}
#: an answer that a reader takes for an interrupt, and the scorer does not
_NEARLY_TAGGED = re.compile(r"\$\s*interrupt\s*\$", re.IGNORECASE)


@dataclass(frozen=True)
class SessionPrediction:
    """The answers of one session; ``answers`` is None where the row has no list of them."""

    video_path: str
    answers: tuple[str | None, ...] | None


def read_chunk_class(text: str) -> ChunkClass:
    """The class of an answer by the published tag reader."""
    return "interrupt" if text.lstrip().startswith(INTERRUPT_TAG) else "silent"


def egoproactive_array_values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Official values of many pooled totals ``tp``, ``fp``, ``tn``, ``fn``."""
    tp, fp, tn, fn = (np.asarray(totals.get(name, 0.0), dtype=float) for name in ("tp", "fp", "tn", "fn"))
    interrupt = _class_scores(tp, fp, fn)
    silent = _class_scores(tn, fn, fp)
    return {
        "macro_f1": (interrupt[2] + silent[2]) / 2,
        "gmean_f1": np.sqrt(interrupt[2] * silent[2]),
        "interrupt_precision": interrupt[0],
        "interrupt_recall": interrupt[1],
        "interrupt_f1": interrupt[2],
        "silent_precision": silent[0],
        "silent_recall": silent[1],
        "silent_f1": silent[2],
    }


def _class_scores(
    hits: np.ndarray, alarms: np.ndarray, misses: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of one class, 0 where undefined."""
    precision = _share(hits, hits + alarms)
    recall = _share(hits, hits + misses)
    return precision, recall, _share(2 * precision * recall, precision + recall)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, 0.0)


egoproactive_values = make_values_of_totals(egoproactive_array_values)


def score_egoproactive_sessions(
    sessions: Sequence[ReferenceSession], predictions: Sequence[SessionPrediction | None]
) -> OfficialScore:
    """The official scores of predictions in the order of the sessions.

    Args:
        sessions: The annotated sessions.
        predictions: One for each session; None, or a list that ends early, where a session has no row.
    """
    padded = [*predictions[: len(sessions)], *[None] * (len(sessions) - len(predictions))]
    pairs = list(zip(sessions, padded, strict=True))
    items = [_score_session(session, prediction) for session, prediction in pairs]
    return make_official_score(items, egoproactive_values, _describe_quirks(pairs, items))


def _score_session(session: ReferenceSession, prediction: SessionPrediction | None) -> ItemScore:
    status: ItemStatus = "scored"
    if prediction is None:
        answers: tuple[str | None, ...] = (SILENT_TAG,) * len(session.answers)
        status = "missing"
    elif prediction.answers is None:
        answers, status = (), "missing"
    else:
        answers = prediction.answers
        status = "failed" if None in answers[: len(session.answers)] else "scored"
    totals: dict[str, float] = {"tp": 0, "fp": 0, "tn": 0, "fn": 0}
    for reference, answer in zip(session.answers, answers, strict=False):
        totals[_CELLS[_interrupts(reference), _interrupts(answer)]] += 1
    totals["skipped_chunks"] = abs(len(session.answers) - len(answers))
    return ItemScore(id=session.id, video=session.video_path, task=session.task, totals=totals, status=status)


def _interrupts(answer: str | None) -> bool:
    return answer is not None and read_chunk_class(answer) == "interrupt"


def score_egoproactive_tasks(items: Iterable[ItemScore]) -> dict[str, OfficialValues]:
    """The official values of each task, in order of the tasks' names."""
    by_task: dict[str, list[ItemScore]] = defaultdict(list)
    for item in items:
        by_task[item.task].append(item)
    return {task: egoproactive_values(pool_item_totals(by_task[task])) for task in sorted(by_task)}


def _describe_quirks(
    pairs: Sequence[tuple[ReferenceSession, SessionPrediction | None]], items: Sequence[ItemScore]
) -> Iterator[str]:
    if absent := sum(prediction is None for _, prediction in pairs):
        yield f"sessions without answers, on which the published scorer stops, count as silent: {absent}"
    other_paths = [p for s, p in pairs if p is not None and p.video_path and p.video_path != s.video_path]
    if other_paths:
        yield (
            f"rows whose video_path differs from the annotation are joined by position all the same: {len(other_paths)}"
        )
    if skipped := int(sum(item.totals["skipped_chunks"] for item in items)):
        whole = egoproactive_values(pool_item_totals([_score_whole_session(s, p) for s, p in pairs]))
        yield (
            f"chunks without a partner are not scored: {skipped}; with missing answers as silence,"
            f" macro_f1 is {whole['macro_f1']:.4f}"
        )
    answers = [answer for _, p in pairs if p is not None for answer in p.answers or ()]
    if nulls := answers.count(None):
        yield f"null answers, on which the published scorer stops, count as silent: {nulls}"
    nearly = sum(bool(a and read_chunk_class(a) == "silent" and _NEARLY_TAGGED.search(a)) for a in answers)
    if nearly:
        yield f"answers with an interrupt tag that does not come first, as written, count as silent: {nearly}"
    totals = pool_item_totals(items)
    for name, cells in (("interrupt", ("tp", "fp", "fn")), ("silent", ("tn", "fp", "fn"))):
        if totals and not any(totals[cell] for cell in cells):
            yield f"no chunk is {name} in references or predictions: its F1 counts as 0"


def _score_whole_session(session: ReferenceSession, prediction: SessionPrediction | None) -> ItemScore:
    """The session with silence for each answer that is not there."""
    given = (prediction.answers if prediction is not None else None) or ()
    padding = (SILENT_TAG,) * (len(session.answers) - len(given))
    return _score_session(session, SessionPrediction(session.video_path, (*given, *padding)))
