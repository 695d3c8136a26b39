"""What the published code would print: ProAssist's stream metrics and the DST extension's, defects and all.

    python -c "from prospect_eval.metrics.published import compute_published_dialogue_metrics; print(compute_published_dialogue_metrics(13, 19, 22, 4))"

For reading published numbers, never for judging a model: perfect hits are lost (`find_published_match`), undefined ratios are
0, an all-silent video that ought to be silent scores 0, updates are compared by their place in a list
(`metrics.states.index_aligned_state_accuracy`). What we compute instead, and why, is in ``docs/metrics.md``. METEOR is left out:
the published one is Java's METEOR 1.5 with its paraphrase table.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from prospect_eval.matching.matcher import Similarity
from prospect_eval.metrics.dialogue import dialogue_scores
from prospect_eval.metrics.states import index_aligned_state_accuracy
from prospect_eval.text.cider import cider, cider_ngrams, cider_treebank_tokens

__all__ = [
    "apply_published_state_update",
    "compute_published_binary_metrics",
    "compute_published_dialogue_metrics",
    "compute_published_dialogue_quality",
    "compute_published_distance_cost",
    "compute_published_text_metrics",
    "find_published_match",
    "index_aligned_state_accuracy",
    "parse_published_judge_reply",
]  # fmt: skip

Utterances = Sequence[tuple[int, str]]


def compute_published_distance_cost(frames: float, reach: int, factor: float = 0.3, power: float = 1.5) -> float:
    """Cost of a distance in frames under a window whose larger side is ``reach``."""
    return float(factor * (abs(frames) / reach) ** power)


def find_published_match(
    predictions: Utterances,
    references: Utterances,
    similarity: Similarity | None,
    window_frames: tuple[int, int],
    num_frames: int,
    distance_factor: float = 0.3,
    distance_power: float = 1.5,
    keep_perfect_hits: bool = False,
) -> dict[str, list[Any]]:
    """``find_match``: ``matched`` [[prediction frame, reference frame]], ``missed`` and ``redundant`` frames,
    ``match_costs``, ``semantic_scores``.

    ``window_frames`` (l, r) are the least and largest allowed reference minus prediction: (-4, 8) is 4 frames late and 8
    early, and (5, 5), its default, reaches only references exactly 5 frames ahead. Without ``keep_perfect_hits`` an edge
    of cost exactly 0 does not exist, as published. A prediction that can take no frame fails the published solver; here
    it is redundant.
    """
    low, high = window_frames
    reach = max(abs(low), high)
    spoken = {frame: text for frame, text in references}
    cosines = {}
    if similarity is not None and predictions and references:
        table = np.abs(similarity([t for _, t in predictions], [t for _, t in references]))
        cosines = {
            (p, r): float(table[i, j]) for i, (p, _) in enumerate(predictions) for j, (r, _) in enumerate(references)
        }
    edges: dict[tuple[int, int], float] = {}
    for row, (frame, _) in enumerate(predictions):
        for column in range(max(0, frame + low), min(num_frames, frame + high + 1)):
            words = 1.0 - cosines.get((frame, column), 1.0) if column in spoken else 1.0
            cost = np.float32(
                words + compute_published_distance_cost(column - frame, reach, distance_factor, distance_power)
            )
            if cost != 0 or keep_perfect_hits:
                edges[row, column] = float(cost)
    taken = _solve(edges, len(predictions), num_frames)
    out: dict[str, list[Any]] = {
        key: [] for key in ("matched", "missed", "redundant", "match_costs", "semantic_scores")
    }
    for row, (frame, _) in enumerate(predictions):
        partner = taken.get(row)
        if partner is None or partner not in spoken:
            out["redundant"].append(frame)
            continue
        out["matched"].append([frame, partner])
        out["match_costs"].append(edges[row, partner])
        out["semantic_scores"].append(cosines.get((frame, partner), 1.0))
    hit = {column for _, column in out["matched"]}
    out["missed"] = [frame for frame, _ in references if frame not in hit]
    return out


def _solve(edges: Mapping[tuple[int, int], float], rows: int, columns: int) -> dict[int, int]:
    """The cheapest full assignment; rows that cannot have a column of their own take a private one, at a high cost."""
    if not edges:
        return {}
    keys = [*edges, *((row, columns + row) for row in range(rows))]
    costs = [*edges.values(), *[1e3] * rows]
    matrix = csr_matrix((np.array(costs) + 1.0, tuple(np.array(keys).T)), shape=(rows, columns + rows))
    taken = zip(*map(np.ndarray.tolist, min_weight_full_bipartite_matching(matrix)), strict=True)
    return {row: column for row, column in taken if column < columns}


def compute_published_dialogue_metrics(
    correct: int,
    mismatched: int,
    missed: int,
    redundant: int,
    semantic_scores: Sequence[float] = (),
    time_diffs_s: Sequence[float] = (),
) -> dict[str, float]:
    """The stream evaluator's names and values for pooled counts; undefined is 0.

    ``semantic_scores`` are those of all pairs (the mean is over those of at least .5, where counting uses more than
    .5), ``time_diffs_s`` those of correct pairs.
    """
    counts = {"correct": correct, "mismatched": mismatched, "missed": missed, "redundant": redundant}
    scores = {name: value or 0.0 for name, value in dialogue_scores(counts).items()}
    good = [score for score in semantic_scores if score >= 0.5]
    return {
        "jaccard_index": scores["jaccard"],
        "missing_rate": scores["missing_rate"],
        "redundant_rate": scores["redundant_rate"],
        "semantic_score": float(np.mean(good)) if good else 0.0,
        "time_diff": float(np.mean(time_diffs_s)) if len(time_diffs_s) else 0.0,
        "precision": scores["precision"],
        "recall": scores["recall"],
        "F1": scores["f1"],
        "num_matched": float(correct),
        "num_mismatched": float(mismatched),
        "num_missed": float(missed),
        "num_redundant": float(redundant),
    }


def compute_published_stream_metrics(
    matches: Sequence[Mapping[str, Sequence[Any]]], fps: float | Sequence[float], threshold: float = 0.5
) -> dict[str, float]:
    """`compute_published_dialogue_metrics` of several videos' `find_published_match` results, counts pooled; ``fps`` of all, or of each."""
    rates = [fps] * len(matches) if isinstance(fps, int | float) else list(fps)
    good, pairs, missed, redundant = 0, 0, 0, 0
    scores: list[float] = []
    seconds: list[float] = []
    for match, rate in zip(matches, rates, strict=True):
        missed, redundant, pairs = (
            missed + len(match["missed"]),
            redundant + len(match["redundant"]),
            pairs + len(match["matched"]),
        )
        scores += match["semantic_scores"]
        for (p, r), score in zip(match["matched"], match["semantic_scores"], strict=True):
            if score > threshold:
                good += 1
                seconds.append(abs(p - r) / rate)
    return compute_published_dialogue_metrics(good, pairs - good, missed, redundant, scores, seconds)


def compute_published_text_metrics(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """``Bleu_1`` .. ``Bleu_4`` (0..1, no smoothing but tiny constants) and ``CIDEr`` of the captioning code; 0 for no pair."""
    pairs = [
        (cider_treebank_tokens(h), cider_treebank_tokens(r))
        for h, r in zip(hypotheses, references, strict=True)
        if cider_treebank_tokens(r)
    ]
    names = [f"Bleu_{n}" for n in range(1, 5)]
    if not pairs:
        return dict.fromkeys([*names, "CIDEr"], 0.0)
    length, reference = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    ratio = (length + 1e-15) / (reference + 1e-9)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    out, product = {}, 1.0
    for n, name in enumerate(names, 1):
        grams = [(cider_ngrams(h)[n - 1], cider_ngrams(r)[n - 1]) for h, r in pairs]
        hits = sum(sum((mine & theirs).values()) for mine, theirs in grams)
        product *= (hits + 1e-15) / (sum(sum(mine.values()) for mine, _ in grams) + 1e-9)
        out[name] = brevity * product ** (1 / n)
    return {**out, "CIDEr": cider(hypotheses, references)}


def compute_published_binary_metrics(
    num_frames: int,
    predicted_speaking_frames: Sequence[int],
    predicted_update_frames: Sequence[int],
    turns: Sequence[tuple[str, int]],
    clip_start_frame: int = 0,
) -> dict[str, float]:
    """The DST extension's frame-exact scores of speaking and updating: a turn (role, absolute frame) labels its own
    frame alone, turns outside the clip vanish, undefined is 0, and the balanced accuracy leaves out an absent class."""
    out: dict[str, float] = {}
    for name, role, predicted in (
        ("speaking", "assistant", predicted_speaking_frames),
        ("dst_update", "DST_UPDATE", predicted_update_frames),
    ):
        truth = {frame - clip_start_frame for who, frame in turns if who == role} & set(range(num_frames))
        guess = set(predicted) & set(range(num_frames))
        hits, silent = len(truth & guess), num_frames - len(truth | guess)
        recalls = [hits / len(truth)] if truth else []
        recalls += [silent / (num_frames - len(truth))] if num_frames > len(truth) else []
        out[f"{name}_balanced_acc"] = sum(recalls) / len(recalls) if recalls else 0.0
        out[f"{name}_precision"] = hits / len(guess) if guess else 0.0
        out[f"{name}_recall"] = hits / len(truth) if truth else 0.0
        out[f"{name}_f1"] = 2 * hits / (len(guess) + len(truth)) if guess or truth else 0.0
    return out


def apply_published_state_update(state: Mapping[str, str], text: str) -> dict[str, str]:
    """The origin's state after an update text: one ``step->change`` of start or complete, of any step in any state;
    everything else is ignored."""
    parts = [part.strip() for part in text.split("->")]
    new = {"start": "in_progress", "complete": "completed"}.get(parts[1]) if len(parts) == 2 else None
    return {**state, parts[0]: new} if new and parts[0] else dict(state)


def parse_published_judge_reply(text: str) -> Any | None:
    """The origin's reading of a judge's reply.

    The first ``{...}`` on one line, between the first and the second ``---`` where there is a ``---``, as JSON. Neither
    the keys nor the scores are checked.

    Args:
        text: The reply.

    Returns:
        What the braces hold; None without braces, or where they hold no JSON.
    """
    parts = text.split("---")
    braces = re.search(r"\{.*?\}", parts[1] if len(parts) > 1 else text)
    if braces is None:
        return None
    try:
        return json.loads(braces.group())
    except ValueError:
        return None


def compute_published_dialogue_quality(
    steps: Sequence[tuple[float, float]], turns: Sequence[tuple[str, float, str]]
) -> dict[str, float]:
    """The score of generated dialogues.

    10 - mean distance (s) of turns to step boundaries - mean distance of step starts to turns - 0.1 for every user
    question whose next turn is not an assistant's within 2 s. As published, turns of the user count in both distances,
    and a question that is the last turn is not penalized.

    Args:
        steps: (start, end) in seconds of each step.
        turns: (role, seconds, text) of each turn, in order.

    Returns:
        The published names and values; a distance is 0 without turns or steps.
    """
    times = [time for _, time, _ in turns]
    edges = [edge for step in steps for edge in step]
    distance_p = float(np.mean([min(abs(t - e) for e in edges) for t in times])) if times and edges else 0.0
    distance_r = float(np.mean([min(abs(begin - t) for t in times) for begin, _ in steps])) if times and steps else 0.0
    unanswered = 0
    for (role, time, text), (next_role, next_time, _) in pairwise(turns):
        if role == "user" and text.endswith("?"):
            unanswered += next_role != "assistant" or next_time - time > 2
    return {
        "avg_time_diff_p": distance_p,
        "avg_time_diff_r": distance_r,
        "no_resp_penalty": 0.1 * unanswered,
        "no_resp_user_turns": float(unanswered),
        "final_score": 10 - distance_p - distance_r - 0.1 * unanswered,
    }
