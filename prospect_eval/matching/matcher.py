"""Match predicted with reference utterances as ProAssist does, and predicted with reference events.

Both are exact assignments over sparse edges: time and memory grow with the number of events, not
with the number of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from prospect_core.timeline import exact_fraction

#: cosines (len(a), len(b)) of two lists of texts
Similarity = Callable[[Sequence[str], Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Matching:
    """One-to-one assignment of predictions to references.

    Attributes:
        pairs: (prediction index, reference index) of each matched pair.
        costs: Cost of each pair.
        similarities: Cosine of each pair.
        missed: Indices of the references without a prediction.
        redundant: Indices of the predictions without a reference.
    """

    pairs: tuple[tuple[int, int], ...]
    costs: tuple[float, ...]
    similarities: tuple[float, ...]
    missed: tuple[int, ...]
    redundant: tuple[int, ...]


def match_utterances(
    predictions: Sequence[tuple[int, str]],
    references: Sequence[tuple[int, str]],
    similarity: Similarity | np.ndarray | None,
    window_s: tuple[float, float],
    fps: float,
    distance_factor: float = 0.3,
    distance_power: float = 1.5,
    num_frames: int | None = None,
) -> Matching:
    """Match (frame, text) utterances at the least total cost, as ProAssist defines it.

    A prediction at frame i takes one frame j with ``-late <= j - i <= early``, and each j is taken
    once. The cost is ``(1 - |cos|) + distance_factor * (|i - j| / W) ** distance_power`` if j holds
    a reference. It is ``1 +`` the same distance term if j is silent. W is the larger side of the
    window in frames.

    One defect of the published code is corrected. It stores costs in a sparse matrix, where a cost
    of exactly 0 (same frame, same words) is no edge. Here every edge has a constant added. This
    changes no optimum because each prediction takes exactly one edge.

    Args:
        predictions: (frame, text) of the predictions, at most one for each frame.
        references: (frame, text) of the references, at most one for each frame.
        similarity: A function of two lists of texts, the (P, R) cosines, or None. With None the
            cosine of any two utterances is 1.
        window_s: (late, early) in seconds, truncated to frames. A negative first number, as
            ProAssist writes it, is accepted.
        fps: Frames per second.
        distance_factor: Weight of the distance in time.
        distance_power: Power of the distance in time.
        num_frames: Number of frames, which limits the silent frames; None if unknown.

    Returns:
        The assignment.

    Raises:
        ValueError: Two predictions or two references are on one frame, or the cosines do not fit
            the texts.
    """
    late, early = (int(exact_fraction(abs(side)) * exact_fraction(fps)) for side in window_s)
    width = max(late, early, 1)
    frames = np.array([frame for frame, _ in predictions], dtype=np.int64)
    spoken = np.array([frame for frame, _ in references], dtype=np.int64)
    if len(np.unique(frames)) != len(frames) or len(np.unique(spoken)) != len(spoken):
        raise ValueError("two utterances on one frame; join them first")
    if not len(frames) or not len(spoken):
        return Matching((), (), (), tuple(range(len(spoken))), tuple(range(len(frames))))
    unique, text_of = np.unique([text for _, text in predictions], return_inverse=True)
    cosines = _cosines(similarity, unique.tolist(), text_of, predictions, references)

    def distance(gap: np.ndarray) -> np.ndarray:
        cost: np.ndarray = distance_factor * (np.abs(gap) / width) ** distance_power
        return cost

    # a prediction without a reference in its block stays on its own frame, unpaired
    rows = np.flatnonzero(_near_a_reference(frames, spoken, late, early))
    gaps = np.arange(-late, early + 1)
    edge_row, edge_gap = np.repeat(rows, len(gaps)), np.tile(gaps, len(rows))
    column = frames[edge_row] + edge_gap
    inside = (column >= 0) & (column < (np.iinfo(np.int64).max if num_frames is None else num_frames))
    keep = inside | (edge_gap == 0)
    edge_row, edge_gap, column = edge_row[keep], edge_gap[keep], column[keep]
    order = np.argsort(spoken)
    place = np.searchsorted(spoken[order], column).clip(max=len(spoken) - 1)
    reference = np.where(spoken[order][place] == column, order[place], -1)
    words = np.where(reference >= 0, 1.0 - cosines[text_of[edge_row], reference], 1.0)
    taken = _assign(edge_row, column, words + distance(edge_gap))
    partner = dict(zip(edge_row[taken].tolist(), reference[taken].tolist(), strict=True))
    pairs = [(p, partner[p]) for p in range(len(frames)) if partner.get(p, -1) >= 0]
    similar = [float(cosines[text_of[p], r]) for p, r in pairs]
    far = distance(np.array([frames[p] - spoken[r] for p, r in pairs], dtype=float))
    costs = [1.0 - s + float(d) for s, d in zip(similar, far, strict=True)]
    matched, hit = {p for p, _ in pairs}, {r for _, r in pairs}
    return Matching(
        tuple(pairs),
        tuple(costs),
        tuple(similar),
        tuple(r for r in range(len(spoken)) if r not in hit),
        tuple(p for p in range(len(frames)) if p not in matched),
    )


def match_events(
    predicted: Sequence[float], reference: Sequence[float], early: float, late: float | None = None
) -> list[tuple[int, int]]:
    """Pair predicted with reference moments one to one.

    Of the assignments with the most pairs, the one with the least sum of |dt| is chosen.

    Args:
        predicted: Moments of the predictions, in frames, in any order.
        reference: Moments of the references, in frames, in any order.
        early: How many frames a prediction may precede its reference, at least 0.
        late: How many frames it may follow its reference, at least 0. The default equals ``early``.

    Returns:
        (index of the prediction, index of the reference) of each pair, sorted.
    """
    late = early if late is None else late
    if not len(predicted) or not len(reference):
        return []
    if len(predicted) == 1 or len(reference) == 1:
        gaps = [(p - r, i, j) for i, p in enumerate(predicted) for j, r in enumerate(reference)]
        allowed = [(abs(gap), i, j) for gap, i, j in gaps if -early <= gap <= late]
        return [min(allowed)[1:]] if allowed else []
    ours, theirs = np.asarray(predicted, dtype=float), np.asarray(reference, dtype=float)
    order = np.argsort(ours, kind="stable")
    low = np.searchsorted(ours[order], theirs - early, "left")
    counts = np.searchsorted(ours[order], theirs + late, "right") - low
    row = np.repeat(np.arange(len(theirs)), counts)
    if not len(row):
        return []
    column = order[np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(low, counts)]
    gap = np.abs(ours[column] - theirs[row])
    # a reference can stay unpaired on a column of its own, at a higher cost than any sum of
    # distances
    alone = np.unique(row)
    dearest = float(max(early, late)) * min(len(ours), len(theirs)) + 1.0
    cost = np.concatenate([gap, np.full(len(alone), dearest)])
    edges = np.concatenate([row, alone]), np.concatenate([column, len(ours) + alone])
    taken = _assign(*edges, cost)
    pairs = zip(edges[1][taken].tolist(), edges[0][taken].tolist(), strict=True)
    return sorted((p, r) for p, r in pairs if p < len(ours))


def _cosines(
    similarity: Similarity | np.ndarray | None,
    unique: list[str],
    text_of: np.ndarray,
    predictions: Sequence[tuple[int, str]],
    references: Sequence[tuple[int, str]],
) -> np.ndarray:
    """Return the absolute cosines, shape (unique predicted texts, references)."""
    cosines: np.ndarray
    shape = len(unique), len(references)
    if similarity is None:
        return np.ones(shape)
    if callable(similarity):
        cosines = np.abs(np.asarray(similarity(unique, [text for _, text in references]), dtype=float))
    else:
        whole = np.abs(np.asarray(similarity, dtype=float))
        if whole.shape != (len(predictions), len(references)):
            raise ValueError(
                f"similarities of shape {whole.shape} for {len(predictions)} predictions and {len(references)} references"
            )
        first = np.unique(text_of, return_index=True)[1]
        if not np.array_equal(whole[first][text_of], whole):
            raise ValueError("equal predicted texts have different similarities")
        cosines = whole[first]
    if cosines.shape != shape:
        raise ValueError(f"the similarity gave {cosines.shape} cosines for {shape[0]} x {shape[1]} texts")
    return cosines


def _near_a_reference(frames: np.ndarray, spoken: np.ndarray, late: int, early: int) -> np.ndarray:
    """Return a mask of the predictions in a block of overlapping windows that holds a reference.

    Windows of different blocks do not overlap, so the other predictions cannot influence a match.
    """
    order = np.argsort(frames)
    at = frames[order]
    block = np.cumsum(np.concatenate([[0], np.diff(at) > late + early]))
    first = np.searchsorted(block, np.arange(block[-1] + 1), "left")
    last = np.append(first[1:], len(at)) - 1
    sorted_refs = np.sort(spoken)
    reached = np.searchsorted(sorted_refs, at[last] + early, "right") > np.searchsorted(sorted_refs, at[first] - late)
    out = np.zeros(len(frames), bool)
    out[order] = reached[block]
    return out


def _assign(rows: np.ndarray, columns: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return the indices of the edges of the cheapest assignment.

    In an assignment every row takes one edge and no column takes two.
    """
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    row_names, row = np.unique(rows, return_inverse=True)
    column_names, column = np.unique(columns, return_inverse=True)
    # + 1 because a sparse matrix has no edge of cost 0
    edges = csr_matrix((costs + 1.0, (row, column)), shape=(len(row_names), len(column_names)))
    chosen = np.empty(len(row_names), dtype=np.int64)
    at, to = min_weight_full_bipartite_matching(edges)
    chosen[at] = to
    return np.flatnonzero(chosen[row] == column)
