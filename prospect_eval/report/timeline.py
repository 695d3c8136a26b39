"""One episode drawn over time: turns with their matches, probabilities, step states, cache.

python -c "from prospect_eval.report.timeline import draw_timeline; help(draw_timeline)"
"""

from __future__ import annotations

import base64
from typing import Any

from prospect_core.timeline import STEP_STATES
from prospect_eval.metrics.base import GOOD_SIMILARITY, Scored

WIDTH, LEFT, RIGHT = 1080, 90, 10
TURNS_TOP, PROBS_TOP, PROBS_HEIGHT, LANE = 14, 84, 60, 17


def draw_timeline(scored: Scored, thumbnails: dict[int, bytes]) -> dict[str, Any]:
    """Coordinates and texts that the template turns into an SVG and a transcript."""
    record, episode = scored.record, scored.record.episode
    start, span = episode.start_frame, max(1, episode.num_frames)

    def x(frame: float) -> float:
        return round(LEFT + (frame - start) / span * (WIDTH - LEFT - RIGHT), 1)

    matching = scored.matching
    partner = {p: (r, c) for (p, r), c in zip(matching.pairs, matching.similarities, strict=True)}
    missed = set(matching.missed)
    predicted = []
    for k, (frame, text) in enumerate(scored.predictions):
        reference, cosine = partner.get(k, (None, None))
        kind = "redundant" if reference is None else "good" if (cosine or 0) > GOOD_SIMILARITY else "off"
        to = x(scored.references[reference][0]) if reference is not None else None
        predicted.append({"x": x(frame), "text": text, "kind": kind, "to": to, "time": frame / episode.fps})
    lanes_top = PROBS_TOP + PROBS_HEIGHT + 16
    lanes = [
        {
            "step": step.id,
            "name": step.name,
            "y": lanes_top + k * (LANE + 3),
            "reference": _spans(scored.reference_states[:, k], x, start),
            "tracked": _spans(scored.tracked_states[:, k], x, start),
        }
        for k, step in enumerate(episode.task.steps)
    ]
    cache_top = lanes_top + len(lanes) * (LANE + 3) + 10
    peak = max(record.cache_tokens, default=0)
    points = [(x(start + k), cache_top + 40 - 40 * v / peak) for k, v in enumerate(record.cache_tokens)] if peak else []
    return {
        "id": episode.id,
        "goal": episode.task.goal,
        "user_type": episode.user_type,
        "width": WIDTH,
        "height": cache_top + 70,
        "left": LEFT,
        "references": [
            {"x": x(f), "text": text, "missed": k in missed, "time": f / episode.fps}
            for k, (f, text) in enumerate(scored.references)
        ],
        "predictions": predicted,
        "users": [{"x": x(f), "text": event.text} for f, event in episode.user_turns()],
        "probs": {
            name: _line([(x(start + k), PROBS_TOP + PROBS_HEIGHT * (1 - v)) for k, v in enumerate(values)])
            for name, values in (("speaking", record.speaking_prob), ("update", record.update_prob))
        },
        "thresholds": {
            "speaking": PROBS_TOP + PROBS_HEIGHT * (1 - record.knobs.speaking_threshold),
            "update": PROBS_TOP + PROBS_HEIGHT * (1 - record.knobs.update_threshold),
        },
        "turns_top": TURNS_TOP,
        "probs_top": PROBS_TOP,
        "probs_height": PROBS_HEIGHT,
        "lanes": lanes,
        "lane_height": LANE / 2,
        "cache_top": cache_top,
        "cache": _line(points),
        "peak": peak,
        "compressions": [
            {"x": x(c.frame), "before": c.tokens_before, "after": c.tokens_after, "text": c.text}
            for c in record.compressions
        ],
        "seconds": [
            {"x": x(start + s * episode.fps), "s": s + start / episode.fps} for s in _marks(span / episode.fps)
        ],
        "transcript": _transcript(scored, thumbnails),
    }


def _transcript(scored: Scored, thumbnails: dict[int, bytes]) -> list[dict[str, Any]]:
    """Reference, predicted and user turns by time, a pair on one row at the time of its reference."""
    matching, fps = scored.matching, scored.record.episode.fps
    by_reference = {r: (p, c) for (p, r), c in zip(matching.pairs, matching.similarities, strict=True)}
    rows: list[dict[str, Any]] = []
    for r, (frame, text) in enumerate(scored.references):
        p, cosine = by_reference.get(r, (None, None))
        said = scored.predictions[p] if p is not None else None
        kind = "missed" if said is None else "good" if (cosine or 0) > GOOD_SIMILARITY else "off"
        delay = None if said is None else (said[0] - frame) / fps
        rows.append(
            {
                "frame": frame,
                "who": kind,
                "reference": text,
                "said": said[1] if said else "",
                "cosine": cosine,
                "delay": delay,
            }
        )
    for p in matching.redundant:
        frame, text = scored.predictions[p]
        rows.append({"frame": frame, "who": "redundant", "reference": "", "said": text, "cosine": None, "delay": None})
    for frame, event in scored.record.episode.user_turns():
        rows.append(
            {
                "frame": frame + 0.5,
                "who": "user",
                "reference": event.text,
                "said": "",
                "cosine": None,
                "delay": None,
            }
        )
    for row in rows:
        picture = thumbnails.get(row["frame"])
        row["picture"] = base64.b64encode(picture).decode() if picture else ""
        row["time"] = int(row["frame"]) / fps
    return sorted(rows, key=lambda row: row["frame"])


def _spans(states: Any, x: Any, start: int) -> list[dict[str, Any]]:
    """Runs of equal state: x, width, name."""
    out, begin = [], 0
    for k in range(1, len(states) + 1):
        if k == len(states) or states[k] != states[begin]:
            left, right = x(start + begin), x(start + k)
            out.append({"x": left, "width": round(right - left, 1), "state": STEP_STATES[int(states[begin])]})
            begin = k
    return out


def _line(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)


def _marks(seconds: float) -> list[int]:
    every = next(step for step in (5, 10, 20, 30, 60, 120, 300, 600, 10**9) if seconds / step <= 14)
    return list(range(0, int(seconds) + 1, every))
