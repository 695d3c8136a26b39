"""Published scores of prediction records, with the matching and metrics of ProAssist's evaluator.

Counts are pooled over the streams of one dataset. Over several datasets the scores are averaged
without weights, as in the paper. METEOR is left out because the published one is Java's METEOR 1.5
with its paraphrase table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import exact_fraction
from prospect_core.util.errors import UserError
from prospect_eval.matching.matcher import Similarity
from prospect_eval.matching.settings import STANDARD, MatchSettings
from prospect_eval.metrics.published import (
    compute_published_binary_metrics,
    compute_published_stream_metrics,
    compute_published_text_metrics,
    find_published_match,
    index_aligned_state_accuracy,
)

#: keys of a published match result
MATCH_KEYS = ("matched", "missed", "redundant", "match_costs", "semantic_scores")


@dataclass(frozen=True)
class Stream:
    """One record as the published evaluator sees it.

    Attributes:
        record: The record.
        similarity: Cosines of two lists of texts.
        match: Parameters of the matching.
    """

    record: EpisodeRecord
    similarity: Similarity
    match: MatchSettings = STANDARD.match

    @cached_property
    def said(self) -> dict[int, str]:
        """Predicted texts by index in the stream; utterances without words are silence."""
        start = self.record.episode.start_frame
        texts = {utterance.frame - start: utterance.text.strip() for utterance in self.record.utterances}
        return {index: text for index, text in texts.items() if text}

    @cached_property
    def due(self) -> dict[int, str]:
        """Reference texts by index in the stream."""
        episode = self.record.episode
        return {utterance.frame - episode.start_frame: utterance.text for utterance in episode.utterances()}

    @cached_property
    def pairs(self) -> dict[str, list[Any]]:
        """The published match, without perfect hits."""
        return self._matched(keep_perfect_hits=False)

    @cached_property
    def lost_hits(self) -> int:
        """Number of pairs that the published matcher loses because their cost is exactly 0."""
        return len(self._matched(keep_perfect_hits=True)["matched"]) - len(self.pairs["matched"])

    def _matched(self, keep_perfect_hits: bool) -> dict[str, list[Any]]:
        episode = self.record.episode
        return find_published_match(
            list(self.said.items()),
            list(self.due.items()),
            self.similarity,
            published_scores_window_frames(self.match, episode.dataset, episode.fps),
            episode.num_frames,
            self.match.distance_factor,
            self.match.distance_power,
            keep_perfect_hits,
        )

    def good_pairs(self) -> list[tuple[int, int, float]]:
        """Return (prediction index, reference index, similarity) of the correct pairs."""
        found = zip(self.pairs["matched"], self.pairs["semantic_scores"], strict=True)
        return [(p, r, score) for (p, r), score in found if score > self.match.good_similarity]


def published_scores_window_frames(match: MatchSettings, dataset: str, fps: float) -> tuple[int, int]:
    """Return the published window (smallest, largest) of reference minus prediction.

    Args:
        match: Parameters of the matching.
        dataset: Name of the dataset.
        fps: Frames per second.

    Returns:
        The window in frames; seconds are truncated.

    Raises:
        UserError: The window contains only the prediction's own frame. The published formula
            divides by its width.
    """
    late, early = (int(exact_fraction(side) * exact_fraction(fps)) for side in match.window(dataset))
    if not late and not early:
        raise UserError(
            f"--window: less than one frame at {fps:g} per second, and the published cost divides by its width"
        )
    return -late, early


def compute_published_scores(streams: Sequence[Stream]) -> dict[str, float]:
    """Compute the published metrics of the streams of one dataset, without METEOR.

    Args:
        streams: The streams, at least one.

    Returns:
        The values by their published names.
    """
    threshold = streams[0].match.good_similarity
    scores = compute_published_stream_metrics(
        [stream.pairs for stream in streams], [stream.record.episode.fps for stream in streams], threshold
    )
    pairs = [(stream.said[p], stream.due[r]) for stream in streams for p, r, _ in stream.good_pairs()]
    words = compute_published_text_metrics([said for said, _ in pairs], [due for _, due in pairs])
    weighted = {f"{name}_w": value * scores["jaccard_index"] for name, value in words.items()}
    return scores | words | weighted | _published_dst(streams)


def _published_dst(streams: Sequence[Stream]) -> dict[str, float]:
    """Compute the DST extension's scores of speaking, updating and the updates' contents.

    Counts are pooled over the streams. A frame counts on its own, and the i-th predicted update is
    compared with the i-th reference update.

    Returns:
        The values by their published names; empty if no reference has an update.
    """
    if not any(stream.record.episode.transitions() for stream in streams):
        return {}
    offset = 0
    said: list[int] = []
    updated: list[int] = []
    turns: list[tuple[str, int]] = []
    compared: tuple[list[str], list[str]] = ([], [])
    for stream in streams:
        record, episode = stream.record, stream.record.episode
        said += [offset + index for index in stream.said]
        updated += [offset + item.frame - episode.start_frame for item in record.transitions]
        turns += [("assistant", offset + index) for index in stream.due]
        due = episode.transitions()
        turns += [("DST_UPDATE", offset + frame - episode.start_frame) for frame, _, _ in due]
        pairs = zip(record.transitions, due, strict=False)
        for mine, (_, step, change) in pairs:
            compared[0].append(f"{mine.step}->{mine.change}")
            compared[1].append(f"{step}->{change}")
        offset += episode.num_frames
    return compute_published_binary_metrics(offset, said, updated, turns) | index_aligned_state_accuracy(*compared)


def group_streams_for_published_scores(streams: Sequence[Stream]) -> dict[str, list[Stream]]:
    """Group streams by the name of their dataset, sorted by name."""
    out: dict[str, list[Stream]] = {}
    for stream in sorted(streams, key=lambda one: (one.record.episode.dataset, one.record.episode.id)):
        out.setdefault(stream.record.episode.dataset, []).append(stream)
    return out


def average_published_scores(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the unweighted mean of the scores that all datasets have."""
    names = [name for name in scores[0] if all(name in each for each in scores)]
    return {name: sum(each[name] for each in scores) / len(scores) for name in names}


def match_result_for_published_scores(stream: Stream, frames: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return a stream's match result in the published form.

    Args:
        stream: The stream.
        frames: Published outputs of the frames.

    Returns:
        The outputs that are paired, missed and redundant.
    """
    pairs = stream.pairs
    return {
        "matched": [[frames[p], frames[r]] for p, r in pairs["matched"]],
        "missed": [frames[index] for index in pairs["missed"]],
        "redundant": [frames[index] for index in pairs["redundant"]],
        "match_costs": pairs["match_costs"],
        "semantic_scores": pairs["semantic_scores"],
    }


def all_results_for_published_scores(
    streams: Sequence[Stream], results: Sequence[Mapping[str, list[Any]]]
) -> dict[str, Any]:
    """Return the contents of the published ``all_results.json``.

    Args:
        streams: The streams.
        results: The match result of each stream.

    Returns:
        The joined match results of all streams, and the texts of the correct pairs.
    """
    out: dict[str, Any] = {key: [item for result in results for item in result[key]] for key in MATCH_KEYS}
    texts: dict[str, list[Any]] = {}
    seconds: list[float] = []
    for sample, stream in enumerate(streams):
        for place, (p, r, score) in enumerate(stream.good_pairs()):
            texts[f"{sample}_{place}_{p}<>{r}"] = [stream.said[p], stream.due[r], score]
            seconds.append(abs(p - r) / stream.record.episode.fps)
    return {**out, "gen_ref": texts, "time_diff": seconds}
