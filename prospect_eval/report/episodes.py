"""Episode data for a page's scripts: turns with matches, probabilities, step states, cache.

Frame numbers are those of the video. States are indices into `STEP_STATES`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from prospect_core.records import EpisodeRecord
from prospect_core.stream.polling import format_poll_question
from prospect_eval.metrics import Scored, speaking, states
from prospect_eval.metrics.base import f1
from prospect_eval.metrics.polls import is_poll_answer_right
from prospect_eval.report.page import encode_page_numbers


def report_episode_data(scored: Scored) -> dict[str, Any]:
    """Return the data of one scored episode.

    Args:
        scored: The episode.

    Returns:
        Values for the page's JSON. Probabilities and cache sizes are encoded by
        `encode_page_numbers`.
    """
    record, episode, matching = scored.record, scored.record.episode, scored.matching
    partner = {p: (r, c) for (p, r), c in zip(matching.pairs, matching.similarities, strict=True)}
    cosines = {r: c for _, (r, c) in partner.items()}
    cut = {u.frame for u in record.utterances if u.cut}
    return {
        **_facts(record),
        "steps": [[step.id, step.name] for step in episode.task.steps],
        # the kind of a turn is the result of its match
        "references": [
            [frame, text, "missed" if r not in cosines else _kind(scored, cosines[r])]
            for r, (frame, text) in enumerate(scored.references)
        ],
        "predictions": [
            [frame, text, *partner.get(p, (None, None)), "redundant" if p not in partner else _kind(scored, partner[p][1]),
             frame in cut]
            for p, (frame, text) in enumerate(scored.predictions)
        ],
        "users": [[frame, event.text] for frame, event in episode.user_turns()],
        "speaking": encode_page_numbers(record.speaking_prob, "u2"),
        "update": encode_page_numbers(record.update_prob, "u2"),
        "thresholds": [record.knobs.speaking_threshold, record.knobs.update_threshold],
        "lanes": [
            [_changes(states[:, k], episode.start_frame) for states in (scored.reference_states, scored.tracked_states)]
            for k in range(len(episode.task.steps))
        ],
        "transitions": [
            sorted({frame for frame, _, _ in episode.transitions()}),
            sorted({change.frame for change in record.transitions}),
        ],
        "cache": encode_page_numbers(record.cache_tokens, "u4"),
        "compressions": [[c.frame, c.tokens_before, c.tokens_after, c.text] for c in record.compressions],
        "refusals": [[r.frame, r.step, r.wanted] for r in record.refusals],
        "row": _row(scored),
        **_benchmark_data(record),
        **_clock_data(record),
    }  # fmt: skip


def _benchmark_data(record: EpisodeRecord) -> dict[str, Any]:
    """Return the reply spans, standing questions, candidate intervals, polls and mistakes that exist."""
    episode = record.episode
    frames = [u.frame for u in record.utterances]
    spans = [
        [*event.reply_span, event.text, any(_is_inside(frame / episode.fps, event.reply_span) for frame in frames)]
        for event in episode.events
        if event.reply_span is not None
    ]
    standing = [[frame, event.open_until, event.text] for frame, event in episode.user_turns() if event.open_until]
    candidates = [[interval.start, interval.end] for interval in episode.candidates]
    found = {
        "spans": spans,
        "standing": standing,
        "candidates": candidates,
        "polls": _poll_rows(record),
        **_mistake_rows(record),
    }
    return {name: rows for name, rows in found.items() if rows}


def _mistake_rows(record: EpisodeRecord) -> dict[str, list[list[Any]]]:
    """Return rows of reference and predicted mistakes.

    A reference is [start, end, text, found] with times in seconds; a mistake without a time stands
    at the end of the episode and is never found. It is found if a predicted mistake lies in its
    span. A prediction is [frame, text, hit].
    """
    episode = record.episode
    end = episode.end_frame / episode.fps
    times = [mistake.frame / episode.fps for mistake in record.mistakes]
    spans = [mistake.span for mistake in episode.mistakes if mistake.span is not None]
    references = []
    for mistake in episode.mistakes:
        start, stop = mistake.span or (end, end)
        is_found = mistake.span is not None and any(_is_inside(time, mistake.span) for time in times)
        references.append([start, stop, _join(mistake.tag, mistake.step, mistake.description), is_found])
    predictions = [
        [mistake.frame, _join(mistake.tag, mistake.step), any(_is_inside(time, span) for span in spans)]
        for mistake, time in zip(record.mistakes, times, strict=True)
    ]
    return {"mistakes": references, "predicted_mistakes": predictions}


def _join(*parts: str) -> str:
    return ": ".join(part for part in parts if part) or "mistake"


def _clock_data(record: EpisodeRecord) -> dict[str, Any]:
    """Return the dropped frames and the delays of utterances, if the run had a clock.

    A delay is [decision frame, start of the speech, end of the speech, words heard, words, text],
    with times in seconds of the video. The number of words heard is null if all were.
    """
    delays = [
        [u.decision_frame, *u.spoken, u.words_heard, len(u.text.split()), u.text]
        for u in (*record.utterances, *record.undelivered)
        if u.spoken is not None
    ]
    found = {"dropped": [list(span) for span in record.dropped], "delays": delays}
    return {name: rows for name, rows in found.items() if rows}


def _is_inside(time_s: float, span: tuple[float, float]) -> bool:
    return span[0] <= time_s <= span[1]


def _poll_rows(record: EpisodeRecord) -> list[list[Any]]:
    """Return a row of each poll.

    A row is [frame, question, accepted answers, answer, state]. The state is ``right``, ``wrong``,
    ``unanswered`` or ``unknown``.
    """
    episode, rows = record.episode, []
    given = {answer.poll: answer.text for answer in record.answers}
    for poll in episode.polls:
        answer = given.get(poll.id, "")
        values = tuple(value for other in episode.polls if other.kind == poll.kind for value in other.accepted)
        if not answer.strip():
            state = "unanswered"
        elif not poll.accepted:
            state = "unknown"
        else:
            state = "right" if is_poll_answer_right(answer, poll, values) else "wrong"
        question = format_poll_question(poll.question, poll.choices)
        rows.append([episode.poll_frame(poll), question, ", ".join(poll.accepted), answer, state])
    return rows


def report_failed_episode_data(record: EpisodeRecord) -> dict[str, Any]:
    """Return the data of an episode that could not be scored."""
    return {**_facts(record), "error": record.error or "failed"}


def _facts(record: EpisodeRecord) -> dict[str, Any]:
    episode = record.episode
    return {
        "id": episode.id,
        "video": f"{episode.video}@{episode.fps:g}",
        "user": episode.user_type,
        "goal": episode.task.goal,
        "fps": episode.fps,
        "start": episode.start_frame,
        "frames": episode.num_frames,
    }


def _kind(scored: Scored, cosine: float) -> str:
    return "good" if scored.is_good(cosine) else "off"


def _row(scored: Scored) -> dict[str, Any]:
    """Return the episode's row in the table of episodes."""
    record = scored.record
    counts = speaking.speaking_event_counts(2)(scored)
    goal = states.state_jga_counts(scored)
    return {
        "said": len(record.utterances),
        "reference": len(scored.references),
        "good": sum(scored.is_good(cosine) for cosine in scored.matching.similarities),
        "f1": float(f1(counts)) if counts[1] + counts[2] else None,
        "jga": None if isinstance(goal, str) else float(goal[0]),
        "peak": max(record.cache_tokens, default=None),
        "compressions": len(record.compressions),
    }


def _changes(states: np.ndarray, start: int) -> list[list[int]]:
    """Return [frame, state] for each frame on which the state changes."""
    places = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist()] if len(states) else []
    return [[start + k, int(states[k])] for k in places]
