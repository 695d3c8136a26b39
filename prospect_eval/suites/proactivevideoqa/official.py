"""ProactiveVideoQA's official score, PAUC: the area under the quality of the replies so far, over the reply span.

Source: ``vlmevalkit-videochat3/vlmeval/dataset/proactive_videoqa.py`` of MCG-NJU/VideoChat3 at
189754e7a1f7a126bb6d08d1ee0ac4e51be8ead5 (Apache-2.0), which ports ``pauc/judge_llm_scores_openai.py`` of
yellow-binary-tree/ProactiveVideoQA. The published values are per cent, rounded to 2 places; these are not rounded.

Formula:

* A reply is a record with ``answerable`` "yes", in any case, and a text; its time is ``video_span[1]``.
* For each reference turn, the replies with start <= time <= end of its reply span count, in the order given. A text that
  was already given in this turn is skipped; each new one is judged together with all texts of the turn before it.
* The LLM judge says 1, 2 or 3, which gives 0, 1 or 2: the last digit 1-3 of its reply with no digit next to it. A reply
  without one is dropped.
* Where a turn has more than one score, a score later than the end of the related span is deleted if it is lower than the
  last score within it.
* The quality is a step curve: 0.5 from the start of the reply span, and from each reply, its distance from the start
  times (1 - omega), the reply's score. PAUC of the turn is the area under the curve, divided by twice the length of the
  span; without any score it is 0.25. ``omega=W`` is the mean over the turns of all questions, in per cent.

Quirks, which the values keep:

* Silence scores 25; a wrong first reply scores less than silence.
* "2/3" reads 3, "0.3" reads 3, "Score 3 (1 is worst)" reads 1; "10" and "4" are dropped.
* A low reply after the related span is kept where it is the only one.
* A reply span without length gives 0 if answered and 25 if not. A reply counts for every turn whose span holds its time.
* The mean is over turns, not questions. Broken or absent predictions are silence. With omega 1 only the last kept score
  counts.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prospect_eval.suites.benchmark import make_values_of_totals
from prospect_eval.suites.official_score import ItemScore, ItemStatus, OfficialScore, make_official_score
from prospect_eval.suites.proactivevideoqa.annotations import ProactiveQuestion, ReferenceTurn

#: how far the time of a reply is drawn towards the start of its span, of each official value
OMEGAS = (0.0, 0.5, 1.0)
#: quality before the first reply, and best quality
START_SCORE, BEST_SCORE = 0.5, 2.0
_AREA = re.compile(r"(?P<task>(?:.+/)?)area@(?P<omega>[\d.]+)$")

#: score of an LLM judge's reply; None where it holds none
ReadScore = Callable[[str], int | None]


@dataclass(frozen=True)
class TimedReply:
    """A reply of a model, with its time in seconds."""

    time: float
    text: str


@dataclass(frozen=True)
class JudgeRequest:
    """One question to the LLM judge.

    Attributes:
        id: ``question_id=turn=time``, as in the published files.
        question_id: Id of the question.
        turn: Index of the reference turn.
        time: Time of the reply in seconds.
        question: The user's question.
        reference: Text of the reference turn.
        predicted: All texts of the turn until now, joined by blanks.
    """

    id: str
    question_id: str
    turn: int
    time: float
    question: str
    reference: str
    predicted: str


def read_last_digit_score(verdict: str) -> int | None:
    """The official rule: the last digit 1-3 with no digit next to it, minus 1."""
    found = re.findall(r"(?<![0-9])([123])(?![0-9])", verdict)
    return int(found[-1]) - 1 if found else None


def read_first_character_score(verdict: str) -> int | None:
    """The rule of another public copy: the first character, if it is 0-5, minus 1; so scores run from -1 to 4."""
    return int(verdict[0]) - 1 if verdict[:1] in tuple("012345") else None


def read_leading_digit_score(verdict: str) -> int | None:
    """The rule of a third port: the text starts with 1-3, minus 1."""
    text = verdict.strip()
    return int(text[0]) - 1 if text[:1] in tuple("123") else None


#: rules for an LLM judge's reply, the official one first
SCORE_RULES: dict[str, ReadScore] = {
    "last digit": read_last_digit_score,
    "first character": read_first_character_score,
    "leading digit": read_leading_digit_score,
}


def count_replay_rounds(duration: float, last_reply_end: float, fps: float = 1.0) -> int:
    """Number of rounds of the official replay, which stops at the end of the last reply span."""
    by_frames = int(duration * fps)
    by_reply = math.ceil(min(duration, last_reply_end) * fps)
    return max(1, min(by_frames, by_reply))


def make_judge_requests(
    questions: Sequence[ProactiveQuestion], replies: Mapping[str, Sequence[TimedReply]]
) -> list[JudgeRequest]:
    """The requests to the LLM judge, by question in the order of the predictions, by turn and by reply."""
    known = {question.id: question for question in questions}
    requests: list[JudgeRequest] = []
    for question_id, given in replies.items():
        question = known.get(question_id)
        if question is not None:
            for turn in range(len(question.turns)):
                requests += _turn_requests(question, turn, given)
    return requests


def _turn_requests(question: ProactiveQuestion, turn: int, replies: Sequence[TimedReply]) -> Iterator[JudgeRequest]:
    reference = question.turns[turn]
    start, end = reference.reply
    said: list[str] = []
    for reply in replies:
        if not start <= reply.time <= end or reply.text in said:
            continue
        said.append(reply.text)
        yield JudgeRequest(
            id=f"{question.id}={turn}={reply.time}",
            question_id=question.id,
            turn=turn,
            time=reply.time,
            question=question.user_turns[0].content if question.user_turns else "",
            reference=reference.content,
            predicted=" ".join(said),
        )


def find_turn_scores(
    reference: ReferenceTurn, requests: Sequence[JudgeRequest], verdicts: Mapping[str, str], read_score: ReadScore
) -> dict[float, int]:
    """The kept scores of a turn by the time of the reply."""
    scores: dict[float, int] = {}
    for request in requests:
        score = read_score(verdicts.get(request.id, ""))
        if score is not None:
            scores[request.time] = score
    if len(scores) <= 1:
        return scores
    kept: dict[float, int] = {}
    last_related = 0
    for time, score in sorted(scores.items()):
        is_related = time <= reference.related[1]
        if is_related:
            last_related = score
        if is_related or score >= last_related:
            kept[time] = score
    return kept


def compute_area_share(points: Sequence[tuple[float, float]], span: float, omega: float) -> float:
    """Share of the area below the step curve.

    Args:
        points: (seconds after the start of the span, score) of each reply.
        span: Length of the reply span in seconds.
        omega: How far the times are drawn towards the start, 0..1.

    Returns:
        The share; 0 without points or for a span without length.
    """
    if not points or span * BEST_SCORE <= 0:
        return 0.0
    drawn = [(seconds * (1 - omega), score) for seconds, score in sorted(points, key=lambda point: point[0])]
    area, reached, height = 0.0, 0.0, START_SCORE
    for seconds, score in [*drawn, (span, drawn[-1][1])]:
        area += (seconds - reached) * height
        reached, height = seconds, score
    return area / (span * BEST_SCORE)


def compute_turn_pauc(reference: ReferenceTurn, scores: Mapping[float, int], omega: float) -> float:
    """PAUC of one turn, as a share."""
    if not scores:
        return START_SCORE / BEST_SCORE
    start, end = reference.reply
    points = [(time - start, float(score)) for time, score in scores.items()]
    return compute_area_share(points, end - start, omega)


def proactivevideoqa_array_values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """PAUC in per cent of many pooled totals: of all turns, and of each task.

    It is 0 without turns, as published, and NaN where the totals hold no area, as those of replies without verdicts.
    """
    values = {f"omega={omega:g}": np.array(np.nan) for omega in OMEGAS}
    for name in sorted(totals):
        found = _AREA.match(name)
        if found is None:
            continue
        turns = np.asarray(totals.get(f"{found['task']}turns", 0.0), dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(turns > 0, totals[name] / turns, 0.0)
        values[f"{found['task']}omega={found['omega']}"] = mean * 100
    return values


proactivevideoqa_values = make_values_of_totals(proactivevideoqa_array_values)


def score_proactivevideoqa_replies(
    questions: Sequence[ProactiveQuestion],
    replies: Mapping[str, Sequence[TimedReply]],
    verdicts: Mapping[str, str],
    read_score: ReadScore = read_last_digit_score,
    omegas: Sequence[float] = OMEGAS,
) -> OfficialScore:
    """PAUC of replies with an LLM judge's verdicts.

    Args:
        questions: The annotated questions.
        replies: By the id of the question; one without an entry is ``missing`` and counts as silence.
        verdicts: The LLM judge's replies by the id of the request. A reply without a readable verdict is dropped, as in the
            published scorer, and makes its question ``failed``.
        read_score: The rule for an LLM judge's reply.
        omegas: For which the values are computed.
    """
    by_question: dict[str, list[JudgeRequest]] = {}
    requests = make_judge_requests(questions, replies)
    for request in requests:
        by_question.setdefault(request.question_id, []).append(request)
    unread = {request.id for request in requests if read_score(verdicts.get(request.id, "")) is None}
    items = []
    for question in questions:
        asked = by_question.get(question.id, [])
        totals: Counter[str] = Counter()
        for turn, reference in enumerate(question.turns):
            own = [request for request in asked if request.turn == turn]
            scores = find_turn_scores(reference, own, verdicts, read_score)
            totals.update(_turn_totals(question, reference, scores, omegas))
        items.append(
            ItemScore(
                id=question.id,
                video=question.video,
                task=question.task,
                totals=dict(totals),
                status=_find_status(question, replies, asked, unread),
            )
        )
    return make_official_score(items, proactivevideoqa_values, _describe_quirks(questions, replies, requests, unread))


def _find_status(
    question: ProactiveQuestion,
    replies: Mapping[str, Sequence[TimedReply]],
    asked: Sequence[JudgeRequest],
    unread: set[str],
) -> ItemStatus:
    if question.id not in replies:
        return "missing"
    return "failed" if any(request.id in unread for request in asked) else "scored"


def _turn_totals(
    question: ProactiveQuestion, reference: ReferenceTurn, scores: Mapping[float, int], omegas: Sequence[float]
) -> dict[str, float]:
    prefixes = ["", f"{question.task}/"] if question.task else [""]
    totals: dict[str, float] = {}
    for prefix in prefixes:
        totals[f"{prefix}turns"] = 1
        for omega in omegas:
            totals[f"{prefix}area@{omega:g}"] = compute_turn_pauc(reference, scores, omega)
    return totals


def _describe_quirks(
    questions: Sequence[ProactiveQuestion],
    replies: Mapping[str, Sequence[TimedReply]],
    requests: Sequence[JudgeRequest],
    unread: set[str],
) -> Iterator[str]:
    if unread:
        yield f"replies without a readable verdict count as not said: {len(unread)} of {len(requests)}"
    missing = sum(question.id not in replies for question in questions)
    if missing:
        yield f"questions without predictions count as silence, which scores 25: {missing}"
    points = sum(turn.reply[0] >= turn.reply[1] for question in questions for turn in question.turns)
    if points:
        yield f"reply spans without length score 0 if answered, and 25 if not: {points}"
