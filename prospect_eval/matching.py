"""Which predicted utterance is which reference: ProAssist's matching, solved over events only; and events in time.

python -c "from prospect_eval.matching import *; print(match_events([4, 9], [5, 20], 2))"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from prospect_core.timeline import exact

#: cosines (len(a), len(b)) of two lists of texts
Similarity = Callable[[Sequence[str], Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Matching:
    """One-to-one pairs (prediction index, reference index) with cost and similarity; the rest by index."""

    pairs: tuple[tuple[int, int], ...]
    costs: tuple[float, ...]
    similarities: tuple[float, ...]
    missed: tuple[int, ...]
    redundant: tuple[int, ...]


def match_utterances(
    predictions: Sequence[tuple[int, str]],
    references: Sequence[tuple[int, str]],
    similarity: Similarity,
    window_s: tuple[float, float],
    fps: float,
    distance_factor: float = 0.3,
    distance_power: float = 1.5,
    num_frames: int | None = None,
) -> Matching:
    """Match (frame, text) utterances at least total cost, as ProAssist defines it, with its defect mended.

    A prediction at frame i takes one frame j with ``-late <= j - i <= early``, at cost
    ``(1 - |cos|) + distance_factor * (|i - j| / W) ** distance_power`` where j holds a reference and ``1 +`` the same
    distance term where it is silent; W is the larger side of the window in frames and each j is taken once.
    ``window_s`` is (late, early) in seconds (a negative first number, as ProAssist writes it, is taken as well);
    seconds become frames by truncation. ``num_frames`` bounds the silent frames, where known.

    The published code stores costs in a sparse matrix, where a cost of exactly 0 (same frame, same words) is no edge;
    here every edge carries a constant more, which changes no optimum since each prediction takes exactly one.
    """
    late, early = (int(exact(abs(side)) * exact(fps)) for side in window_s)
    if not predictions or not references:
        return Matching((), (), (), tuple(range(len(references))), tuple(range(len(predictions))))
    frames = [frame for frame, _ in predictions]
    spoken = {frame: index for index, (frame, _) in enumerate(references)}
    if len(set(frames)) != len(frames) or len(spoken) != len(references):
        raise ValueError("two utterances on one frame: join them first")
    cosines = np.abs(similarity([text for _, text in predictions], [text for _, text in references]))
    width = max(late, early, 1)
    rows, columns, costs = [], [], []
    for row, frame in enumerate(frames):
        for column in range(frame - late, frame + early + 1):
            own_or_inside = column == frame or (column >= 0 and (num_frames is None or column < num_frames))
            if not own_or_inside:
                continue
            reference = spoken.get(column)
            words = 1.0 if reference is None else 1.0 - float(cosines[row, reference])
            rows.append(row)
            columns.append(column)
            costs.append(words + distance_factor * (abs(column - frame) / width) ** distance_power)
    names, compact = np.unique(columns, return_inverse=True)
    edges = csr_matrix((np.asarray(costs) + 1.0, (rows, compact)), shape=(len(frames), len(names)))
    taken_rows, taken_columns = min_weight_full_bipartite_matching(edges)
    pairs, pair_costs, similarities, redundant = [], [], [], []
    for row, column in zip(taken_rows.tolist(), names[taken_columns].tolist(), strict=True):
        reference = spoken.get(column)
        if reference is None:
            redundant.append(row)
            continue
        pairs.append((row, reference))
        similarities.append(float(cosines[row, reference]))
        pair_costs.append(
            1.0 - similarities[-1] + distance_factor * (abs(column - frames[row]) / width) ** distance_power
        )
    matched = {reference for _, reference in pairs}
    missed = tuple(index for index in range(len(references)) if index not in matched)
    return Matching(tuple(pairs), tuple(pair_costs), tuple(similarities), missed, tuple(redundant))


def match_events(predicted: Sequence[int], reference: Sequence[int], tolerance: float) -> list[tuple[int, int]]:
    """One-to-one pairs (index, index) of frames at most ``tolerance`` frames apart: most pairs, then least |dt|."""
    if not len(predicted) or not len(reference):
        return []
    distance = np.abs(np.subtract.outer(np.asarray(predicted, float), np.asarray(reference, float)))
    allowed = distance <= tolerance
    # one more pair outweighs any sum of distances
    reward = float(tolerance) * min(distance.shape) + 1.0
    rows, columns = linear_sum_assignment(np.where(allowed, distance - reward, 0.0))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if allowed[r, c]]
