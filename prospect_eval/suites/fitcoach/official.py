"""FitCoach's temporal F-score, and its times of answers in a token stream.

Source: ``src/evaluators.py`` of Qualcomm-AI-research/FitCoach at a573ee0b98938b81c1b3e19f94c5fab5d1856f26 (BSD 3-Clause
terms, Qualcomm).

Formula: one-way matching of list A against list B looks, for each time of A in order, at the nearest time of B alone, the
first one of several. They match if they are closer than 1.5 s, the index in B is above that of the last match, and the
text of B is not empty. Recall matches the reference against the predictions, precision the predictions against the
reference; both numbers of matches may differ. Counts are pooled over sessions: precision = matched / (predictions +
1e-12), recall = matched / (reference + 1e-12), ``t_f_score`` = 2 P R / (P + R + 1e-12).

Quirks, which the values keep:

* A perfect run scores 0.99999999999917 (3 of 3), not 1. Nothing to say and nothing said scores 0.
* If the nearest prediction is taken or out of order, no other one is tried; unsorted lists lose matches.
* A prediction without text is never matched on the recall side, counts as a prediction, and may match on the precision
  side. Texts without a time count in the denominator.
* Token streams: the first answer is stamped two frames early, and every later time inherits that, since times are summed
  up. The speaking time of an answer (12 tokens a second) is added to the next one; an empty answer resets it.

The published code stops on a match at a time without a text; here, such a time never matches. It stops on a stream without a
frame; here, that is a `DataError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark import make_values_of_totals
from prospect_eval.suites.official_score import ItemScore, OfficialScore, make_official_score

#: seconds below which two times match: half of the published tolerance
MATCH_S = 1.5
#: added to every denominator by the published code
EPSILON = 1e-12
#: text tokens that the published model speaks in a second
TOKENS_PER_SECOND = 12
#: totals of a session
_NAMES = ("matched references", "matched predictions", "references", "predictions")


@dataclass(frozen=True)
class FeedbackList:
    """Times in seconds with their texts, in the order given. The numbers of both may differ."""

    times: tuple[float, ...]
    texts: tuple[str, ...]

    def text(self, index: int) -> str:
        """The text of a time; an empty one where the list of texts ends before."""
        return self.texts[index] if index < len(self.texts) else ""


@dataclass(frozen=True)
class FeedbackSession:
    """The feedback of one exercise: reference and prediction."""

    id: str
    video: str
    reference: FeedbackList
    predicted: FeedbackList


def match_feedback(first: FeedbackList, second: FeedbackList) -> list[tuple[int, int]]:
    """One-way matching: (index in ``first``, index in ``second``) of the matches."""
    matches: list[tuple[int, int]] = []
    last = -1
    for index, time in enumerate(first.times[: len(first.texts)]):
        if not second.times:
            break
        squares = [(other - time) * (other - time) for other in second.times]
        nearest = squares.index(min(squares))
        if abs(time - second.times[nearest]) < MATCH_S and nearest > last and second.text(nearest) != "":
            matches.append((index, nearest))
            last = nearest
    return matches


def fitcoach_array_values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Official values of many pooled totals."""
    found = {name: np.asarray(totals.get(name, 0.0), dtype=float) for name in _NAMES}
    precision = found["matched predictions"] / (found["predictions"] + EPSILON)
    recall = found["matched references"] / (found["references"] + EPSILON)
    score = 2 * ((precision * recall) / (precision + recall + EPSILON))
    return {"t_f_score": score, "temporal_precision": precision, "temporal_recall": recall}


fitcoach_values = make_values_of_totals(fitcoach_array_values)


def count_feedback_matches(reference: FeedbackList, predicted: FeedbackList) -> dict[str, float]:
    """The totals of one session."""
    matches = len(match_feedback(reference, predicted)), len(match_feedback(predicted, reference))
    return dict(zip(_NAMES, (*matches, len(reference.texts), len(predicted.texts)), strict=True))


def score_fitcoach_sessions(sessions: Sequence[FeedbackSession]) -> OfficialScore:
    """The official values of sessions."""
    items = [
        ItemScore(
            id=session.id,
            video=session.video,
            task="",
            totals=count_feedback_matches(session.reference, session.predicted),
        )
        for session in sessions
    ]
    return make_official_score(items, fitcoach_values)


@dataclass(frozen=True)
class StreamTokens:
    """Ids of the special tokens of a stream: one frame, begin and end of an answer."""

    frame: int
    begin: int
    end: int


def read_stream_feedback(
    tokens: Sequence[int], frames_per_second: float, special: StreamTokens, decode: Callable[[Sequence[int]], str]
) -> FeedbackList:
    """The answers of a token stream with the times that the published code gives them.

    Args:
        tokens: The stream, from the prompt on.
        frames_per_second: Frame tokens in a second.
        special: Ids of the special tokens.
        decode: Text of tokens.

    Raises:
        DataError: The stream has no frame.
    """
    if special.frame not in tokens:
        raise DataError(f"a stream of {len(tokens)} tokens has no frame")
    stream = list(tokens)[list(tokens).index(special.frame) :]
    begins = [index for index, token in enumerate(stream) if token == special.begin]
    ends = [index for index, token in enumerate(stream) if token == special.end]
    texts: list[str] = []
    gaps: list[float] = []
    speaking = 0.0
    # the published code takes index 1 for the end of an answer before the first one
    for begin, end, previous_end in zip(begins, ends, [1, *ends], strict=False):
        text = decode(stream[begin + 1 : end])
        if text:
            texts.append(text)
            gaps.append((begin - previous_end - 1) / frames_per_second + speaking)
        speaking = (end - begin) / TOKENS_PER_SECOND if text else 0.0
    return FeedbackList(times=tuple(accumulate(gaps)), texts=tuple(texts))
