"""Asks a language model for OmniMMI's verdicts of state grounding (SG): right or not, with a score from 0 to 5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from prospect_eval.suites.cached_judge import CachedJudge
from prospect_eval.suites.omnimmi.annotations import GroundingTurn, OmniMmiAnnotations
from prospect_eval.suites.omnimmi.official import read_omnimmi_verdict
from prospect_eval.suites.omnimmi.results import OmniMmiResults

#: asks what the published instruction asks; its wording is in ``evaluations/evaluate.py`` of OmniMMI/OmniMMI
GROUNDING_INSTRUCTION = """\
You compare an answer about a video with the correct answer. Other words are fine where the meaning is the same.
Reply with a Python dictionary and nothing else. Its key 'pred' is 'yes' if the answer is right and 'no' if it is wrong. \
Its key 'score' is a whole number from 0 (no match) to 5 (same meaning), for example {'pred': 'yes', 'score': 4}."""


def judge_omnimmi_grounding(
    annotations: OmniMmiAnnotations,
    results: OmniMmiResults,
    ask: Callable[[str], str],
    name: str,
    instruction: str = GROUNDING_INSTRUCTION,
) -> OmniMmiResults:
    """The results with an LLM judge's verdict of each SG answer.

    Args:
        annotations: The items.
        results: Predictions with ``answers``.
        ask: Gives the LLM judge's reply to a prompt.
        name: Which model judges: part of the cache's key.
        instruction: The instruction. The published numbers use the published wording.

    Returns:
        The results with ``verdicts`` for every item that has answers.
    """
    judge = CachedJudge(
        name=name,
        ask=ask,
        instruction=instruction,
        is_readable=lambda reply: read_omnimmi_verdict(reply) is not None,
        cache="judge/omnimmi",
    )
    prompts: dict[str, list[str]] = {}
    for item in annotations.grounding:
        if item.id in results.answers:
            answers = results.answers[item.id]
            padded = [*answers, *[None] * (len(item.turns) - len(answers))]
            prompts[item.id] = [_describe_turn(turn, answer) for turn, answer in zip(item.turns, padded, strict=False)]
    replies = judge.judge(prompt for some in prompts.values() for prompt in some)
    verdicts = {item_id: tuple(replies[prompt] for prompt in some) for item_id, some in prompts.items()}
    return replace(results, verdicts={**results.verdicts, **verdicts})


def _describe_turn(turn: GroundingTurn, answer: str | None) -> str:
    return f"Question: {turn.question}\nCorrect answer: {turn.answer}\nAnswer to compare: {answer or ''}"
