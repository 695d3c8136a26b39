"""Asks a language model for the verdicts of ProactiveVideoQA, and compares two judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prospect_eval.suites.cached_judge import CachedJudge, JudgeAgreement, compare_judges
from prospect_eval.suites.proactivevideoqa.annotations import ProactiveQuestion
from prospect_eval.suites.proactivevideoqa.official import (
    JudgeRequest,
    ReadScore,
    TimedReply,
    make_judge_requests,
    read_last_digit_score,
)

#: asks for the published scale; the published wording is in ``proactive_videoqa.py`` of MCG-NJU/VideoChat3
REPLY_INSTRUCTION = """\
You grade an answer to a question about a video against the correct answer.
3: the answer has all key points of the correct answer; small mistakes and other words are fine.
2: the answer is right in part, but key points are missing or clearly wrong.
1: the answer is wrong, has hardly any of the key points, or is about something else.
Reply with the number alone."""


def describe_judge_request(request: JudgeRequest) -> str:
    """The text that the LLM judge grades, in the published form."""
    return (
        f"Question: {request.question}\nGround Truth Answer: {request.reference}\nPredicted Answer: {request.predicted}"
    )


def judge_proactivevideoqa_replies(
    questions: Sequence[ProactiveQuestion],
    replies: Mapping[str, Sequence[TimedReply]],
    ask: Callable[[str], str],
    name: str,
    instruction: str = REPLY_INSTRUCTION,
    read_score: ReadScore = read_last_digit_score,
) -> dict[str, str]:
    """An LLM judge's verdict of every reply that counts, by the id of the request.

    Args:
        questions: The annotated questions.
        replies: By the id of the question.
        ask: Gives the LLM judge's reply to a prompt; see `CachedJudge`.
        name: Which model judges: part of the cache's key.
        instruction: The instruction. The published numbers use the published wording.
        read_score: The rule for an LLM judge's reply; replies that it cannot read are asked for again the next time.
    """
    judge = CachedJudge(
        name=name,
        ask=ask,
        instruction=instruction,
        is_readable=lambda reply: read_score(reply) is not None,
        cache="judge/proactivevideoqa",
    )
    texts = {request.id: describe_judge_request(request) for request in make_judge_requests(questions, replies)}
    found = judge.judge(texts.values())
    return {request_id: found[text] for request_id, text in texts.items()}


def compare_reply_judges(
    first: Mapping[str, str], second: Mapping[str, str], read_score: ReadScore = read_last_digit_score
) -> JudgeAgreement:
    """How far two judges agree on the replies that both graded: exact agreement and quadratic-weighted kappa."""
    scores = [{name: read_score(reply) for name, reply in verdicts.items()} for verdicts in (first, second)]
    possible = sorted({score for some in scores for score in some.values() if score is not None} | {0, 1, 2})
    return compare_judges(scores[0], scores[1], possible)
