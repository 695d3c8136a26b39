"""Answers to polls, and replies inside the spans in which they are valid.

*Poll accuracy* is the share of polls with a correct answer. The answer to a poll with choices is
correct if it names the letter of the correct choice, or spells that choice out, and names no other
choice. The answer to a poll with accepted texts is correct if it contains one of them as whole
words, and no text that answers another poll of this kind in the episode. A missing answer is wrong.
This rule is stricter than the official rule of most benchmarks, which accepts an answer that lists
every letter.

*Reply spans*: each reference with a reply span is paired with at most one utterance inside the
span, and each utterance with at most one span. The number of pairs is the largest possible one.
"""

from __future__ import annotations

import re
from functools import partial

import numpy as np

from prospect_core.timeline import Poll, frame_ceil, frame_floor
from prospect_eval.metrics.answers import find_answer_values
from prospect_eval.metrics.base import Metric, Scored, f1, precision, ratio, recall
from prospect_eval.metrics.families import POLLS

_LETTER = re.compile(r"(?<![\w'])([A-Z])(?![\w'])")

_metric = partial(Metric, family=POLLS)


def find_poll_choices(text: str, poll: Poll) -> set[str]:
    """Return the letters of the choices that a text names.

    Single capital letters count first. Only in a text without them, the full words of a choice
    count.
    """
    named = set(_LETTER.findall(text)) & set(poll.letters)
    if named:
        return named
    spelt = {
        choice.lower(): letter for letter, choice in zip(poll.letters, poll.choices, strict=True) if choice.strip()
    }
    return {spelt[value] for value in find_answer_values(text, tuple(spelt))}


def is_poll_answer_right(text: str, poll: Poll, values: tuple[str, ...]) -> bool:
    """Return whether an answer is correct.

    Args:
        text: The answer.
        poll: The poll. Without accepted answers no answer is correct.
        values: Texts that answer polls of this kind. A correct answer contains only accepted ones.
    """
    if poll.choices:
        return find_poll_choices(text, poll) == set(poll.accepted) if len(poll.accepted) == 1 else False
    accepted = {value.lower() for value in poll.accepted}
    said = find_answer_values(text, tuple(sorted(accepted | {value.lower() for value in values})))
    return bool(said) and said <= accepted


def _poll_counts(scored: Scored) -> np.ndarray | str:
    """Return (correct answers, polls)."""
    polls = [poll for poll in scored.record.episode.polls if poll.accepted]
    if not polls:
        return "no poll with a known answer"
    given = {answer.poll: answer.text for answer in scored.record.answers}
    right = 0
    for poll in polls:
        values = tuple(value for other in polls if other.kind == poll.kind for value in other.accepted)
        right += poll.id in given and is_poll_answer_right(given[poll.id], poll, values)
    return np.array([right, len(polls)])


def _answered_counts(scored: Scored) -> np.ndarray | str:
    """Return (polls with a non-empty answer, polls)."""
    if not scored.record.episode.polls:
        return "no poll"
    answered = sum(bool(answer.text.strip()) for answer in scored.record.answers)
    return np.array([answered, len(scored.record.episode.polls)])


def pair_reply_spans(frames: list[int], spans: list[tuple[int, int]]) -> int:
    """Return the largest number of one-to-one pairs of an utterance and a span with its frame.

    The spans are taken in the order of their ends, each with its earliest unpaired utterance. This
    greedy choice is optimal for intervals.

    Args:
        frames: Frames of the utterances.
        spans: First and last frame of each span, both inclusive.
    """
    left = sorted(frames)
    pairs = 0
    for first, last in sorted(spans, key=lambda span: (span[1], span[0])):
        place = next((k for k, frame in enumerate(left) if first <= frame <= last), None)
        if place is not None:
            del left[place]
            pairs += 1
    return pairs


def _span_counts(scored: Scored) -> np.ndarray | str:
    """Return (pairs, utterances, spans)."""
    episode = scored.record.episode
    spans = [event.reply_span for event in episode.events if event.reply_span is not None]
    if not spans:
        return "no reference with a reply span"
    inside = [(frame_ceil(start, episode.fps), frame_floor(end, episode.fps)) for start, end in spans]
    frames = [frame for frame, _ in scored.predictions]
    return np.array([pair_reply_spans(frames, inside), len(frames), len(spans)])


METRICS = [
    _metric(
        "poll_accuracy",
        _poll_counts,
        ratio,
        definition="Share of polls whose answer names the right choice or an accepted text, and nothing else.",
        failure_mode="A constant answer reaches the share of its most frequent right answer.",
    ),
    _metric(
        "poll_answered",
        _answered_counts,
        ratio,
        definition="Share of polls that the model answers at all.",
        failure_mode="Says nothing about whether the answers are right.",
    ),
    _metric(
        "span_f1",
        _span_counts,
        f1,
        definition="F1 of utterances and reply spans, each utterance paired with at most one span that holds it.",
        failure_mode="Looks at times alone; long spans are hit by chance.",
        companion="span_precision",
    ),
    _metric(
        "span_precision",
        _span_counts,
        precision,
        definition="Share of utterances that are paired with a reply span.",
        failure_mode="One utterance in one span scores 1.",
    ),
    _metric(
        "span_recall",
        _span_counts,
        recall,
        definition="Share of reply spans that hold an utterance of their own.",
        failure_mode="Speaking all the time scores 1.",
    ),
]
