"""Metrics as the published code of ProAssist and of its DST extension computes them.

Use them to compare with published values, not to judge a model. They keep the defects of the
published code: perfect hits are lost (`find_published_match`), undefined ratios are 0, a video
without reference and predicted speech scores 0, and updates are compared by their position in a
list (`metrics.states.index_aligned_state_accuracy`). ``docs/metrics.md`` describes PROSPECT's
definitions. METEOR is left out because the published one is Java's METEOR 1.5 with its paraphrase
table.
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
    """Return the cost of a distance in time.

    Args:
        frames: The distance in frames.
        reach: Larger side of the matching window in frames.
        factor: Weight of the distance.
        power: Power of the distance.
    """
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
    """Match utterances as the published ``find_match`` does.

    A prediction that can take no frame stops the published solver; here it is redundant.

    Args:
        predictions: (frame, text) of the predictions.
        references: (frame, text) of the references.
        similarity: Cosines of two lists of texts. With None the cosine of any two utterances is 1.
        window_frames: (l, r), smallest and largest allowed reference minus prediction. (-4, 8) is 4
            frames late and 8 early. The published default (5, 5) reaches only references exactly 5
            frames ahead.
        num_frames: Number of frames of the stream.
        distance_factor: Weight of the distance in time.
        distance_power: Power of the distance in time.
        keep_perfect_hits: Keep edges of cost exactly 0, which the published code loses.

    Returns:
        ``matched`` [[prediction frame, reference frame]], ``missed`` and ``redundant`` frames,
        ``match_costs`` and ``semantic_scores``.
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
    """Return the column of each row in the cheapest full assignment.

    A row without a free column takes a private one at a high cost and is not in the result.
    """
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
    """Compute the published stream metrics of pooled counts. Undefined values are 0.

    Args:
        correct: Number of pairs with a cosine above the threshold.
        mismatched: Number of other pairs.
        missed: Number of references without a prediction.
        redundant: Number of predictions without a reference.
        semantic_scores: Cosines of all pairs. As published, the mean is over those of at least .5,
            while counting uses more than .5.
        time_diffs_s: Seconds between prediction and reference of the correct pairs.

    Returns:
        The values by their published names.
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
    """Compute `compute_published_dialogue_metrics` of several videos with pooled counts.

    Args:
        matches: `find_published_match` of each video.
        fps: Frames per second of all videos, or of each.
        threshold: A pair is correct if its cosine is above this value.

    Returns:
        The values by their published names.
    """
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
    """Compute the captioning code's BLEU and CIDEr.

    Args:
        hypotheses: Predicted texts.
        references: Reference texts, one for each hypothesis.

    Returns:
        ``Bleu_1`` .. ``Bleu_4`` (0..1, smoothed by tiny constants only) and ``CIDEr`` (0..10); 0
        without a pair.
    """
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
    """Compute the DST extension's frame-exact scores of speaking and updating.

    A turn labels only its own frame, turns outside the clip are dropped, undefined values are 0,
    and the balanced accuracy leaves out an absent class.

    Args:
        num_frames: Number of frames of the clip.
        predicted_speaking_frames: Frames with a predicted utterance.
        predicted_update_frames: Frames with a predicted update.
        turns: (role, absolute frame) of the reference turns.
        clip_start_frame: First frame of the clip.

    Returns:
        The values by their published names.
    """
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
    """Apply an update text to a state as the origin does.

    It applies one ``step->change`` of start or complete to any step in any state and ignores
    everything else.

    Args:
        state: State of each step.
        text: The update.

    Returns:
        The new state of each step.
    """
    parts = [part.strip() for part in text.split("->")]
    new = {"start": "in_progress", "complete": "completed"}.get(parts[1]) if len(parts) == 2 else None
    return {**state, parts[0]: new} if new and parts[0] else dict(state)


def parse_published_judge_reply(text: str) -> Any | None:
    """Parse a reply of the LLM judge as the origin does.

    It reads the first ``{...}`` on one line as JSON, between the first and the second ``---`` if
    there is a ``---``. Neither the keys nor the scores are checked.

    Args:
        text: The reply.

    Returns:
        The parsed value; None without braces, or if they do not contain JSON.
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
    """Compute the quality score of generated dialogues.

    The score is 10 minus the mean distance (s) of turns to step boundaries, minus the mean distance
    (s) of step starts to turns, minus 0.1 for every unanswered user question. A question is
    unanswered if the next turn is not an assistant's turn within 2 s. As published, turns of the
    user count in both distances, and a question in the last turn is not penalized.

    Args:
        steps: (start, end) in seconds of each step.
        turns: (role, seconds, text) of each turn, in order.

    Returns:
        The published names and values. A distance is 0 without turns or steps.
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
