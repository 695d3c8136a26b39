"""Bars and marks of an episode's annotation over time: polls, reply spans, candidate intervals, occurrences, mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prospect_core.timeline import Episode


@dataclass(frozen=True)
class TrackItem:
    """A bar, or a mark at one time.

    Attributes:
        start_s: Start in seconds of the video.
        end_s: End in seconds; equal to the start for a mark.
        text: Description.
    """

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class EpisodeTrack:
    """Items of one kind.

    Attributes:
        kind: ``poll``, ``reply``, ``candidate``, ``occurrence`` or ``mistake``.
        name: Label of the row.
        items: The items.
        start_s: Start of the episode in seconds.
        end_s: End of the episode in seconds.
    """

    kind: str
    name: str
    items: tuple[TrackItem, ...]
    start_s: float
    end_s: float

    def left(self, item: TrackItem) -> float:
        """Return the left edge of an item in percent of the episode, 0..100."""
        return 100 * self._share(item.start_s)

    def width(self, item: TrackItem) -> float:
        """Return the width of an item in percent of the episode, 0..100; 0 for a mark."""
        return 100 * (self._share(item.end_s) - self._share(item.start_s))

    def _share(self, time_s: float) -> float:
        share = (time_s - self.start_s) / (self.end_s - self.start_s)
        return min(1.0, max(0.0, share))


def list_episode_tracks(episode: Episode) -> tuple[EpisodeTrack, ...]:
    """Return the tracks of an episode that have an item; one for each step with an occurrence."""
    start, end = episode.start_frame / episode.fps, episode.end_frame / episode.fps
    rows = [
        ("poll", "polls", _list_polls(episode)),
        ("reply", "reply spans", _list_reply_spans(episode)),
        ("candidate", "candidate intervals", _list_candidates(episode)),
        *(("occurrence", name, items) for name, items in _list_occurrences(episode)),
        ("mistake", "mistakes", _list_mistakes(episode)),
    ]
    return tuple(EpisodeTrack(kind, name, tuple(items), start, end) for kind, name, items in rows if items)


def _list_polls(episode: Episode) -> list[TrackItem]:
    items = []
    for poll in episode.polls:
        answer = f" ({', '.join(poll.accepted)})" if poll.accepted else ""
        items.append(TrackItem(poll.time, poll.time, f"{poll.question}{answer}"))
    return items


def _list_reply_spans(episode: Episode) -> list[TrackItem]:
    return [TrackItem(*event.reply_span, event.text) for event in episode.events if event.reply_span is not None]


def _list_candidates(episode: Episode) -> list[TrackItem]:
    return [TrackItem(interval.start, interval.end, "a decision is asked for") for interval in episode.candidates]


def _list_occurrences(episode: Episode) -> Iterator[tuple[str, list[TrackItem]]]:
    """Yield the label and the items of each step with an occurrence: first the steps as listed, then the substeps."""
    names = {step.id: step.name for step in episode.task.steps}
    ids = [*names, *(item.step for item in episode.occurrences if item.step not in names)]
    for step in dict.fromkeys(ids):
        items = [
            TrackItem(item.start, item.end, item.text or names.get(step, step))
            for item in episode.occurrences
            if item.step == step
        ]
        if items:
            yield f"{step} {names.get(step, '')}".strip(), items


def _list_mistakes(episode: Episode) -> list[TrackItem]:
    """Mistakes in time; one without a time, which is known at the end, stands there."""
    end = episode.end_frame / episode.fps
    items = []
    for mistake in episode.mistakes:
        start, stop = mistake.span or (end, end)
        parts = [mistake.tag, mistake.step, mistake.description, "" if mistake.span else "no time"]
        items.append(TrackItem(start, stop, ": ".join(part for part in parts if part)))
    return items
