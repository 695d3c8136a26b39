"""Frame samplers: composable choices of a window's supervised frames, redrawn every epoch.

A sampler is called with a random generator and a `WindowView` and returns a set of video frames.
`CombinedSampler` joins several; `ClassBalanced` thins the result of another one.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np

from prospect_core.timeline import Episode
from prospect_core.util.ranges import STRICT, NotNegative, Positive, Share


@dataclass(frozen=True)
class WindowView:
    """A window as samplers see it.

    Attributes:
        clip: Its frames as an episode.
        media: Its pictures or features (F, ...), or None.
    """

    clip: Episode
    media: np.ndarray | None = None

    @cached_property
    def motion(self) -> np.ndarray | None:
        """(F,) difference of each picture from the one before; None without pictures."""
        return None if self.media is None else frame_sampler_motion(self.media)

    @property
    def frames(self) -> range:
        """Video frames of the window."""
        return range(self.clip.start_frame, self.clip.end_frame)

    @cached_property
    def updates(self) -> frozenset[int]:
        """Frames on which a step changes."""
        return frozenset(frame for frame, _, _ in self.clip.transitions())

    @cached_property
    def spoken(self) -> frozenset[int]:
        """Frames on which the assistant speaks."""
        return frozenset(u.frame for u in self.clip.utterances())

    def around(self, events: Iterable[int], before_s: float, after_s: float) -> set[int]:
        """Return the window's frames from ``before_s`` seconds before to ``after_s`` seconds after any event."""
        before, after = round(before_s * self.clip.fps), round(after_s * self.clip.fps)
        near = {frame for event in events for frame in range(event - before, event + after + 1)}
        return near & set(self.frames)


class FrameSampler(Protocol):
    """Chooses supervised frames."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        """Return video frames of the view."""
        ...


@dataclass(frozen=True)
class Every:
    """All frames."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        """Return all frames of the view."""
        return set(view.frames)


@dataclass(frozen=True)
class Transitions:
    """Frames near a step transition."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    before_s: NotNegative = 1.0
    """Seconds before the transition."""
    after_s: NotNegative = 1.0
    """Seconds after the transition."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        """Return the frames near a transition."""
        return view.around(view.updates, self.before_s, self.after_s)


@dataclass(frozen=True)
class Speaking:
    """Frames near an utterance."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    before_s: NotNegative = 1.0
    """Seconds before the utterance."""
    after_s: NotNegative = 1.0
    """Seconds after the utterance."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        """Return the frames near an utterance."""
        return view.around(view.spoken, self.before_s, self.after_s)


@dataclass(frozen=True)
class KeyFrames:
    """Frames whose pictures differ most from the ones before; none without pictures."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    share: Share = 0.05
    """Share of the frames that are key frames."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        """Return the frames with the largest motion."""
        if view.motion is None:
            return set()
        count = round(self.share * len(view.frames))
        order = np.argsort(-view.motion, kind="stable")[:count]
        return {view.clip.start_frame + int(k) for k in order}


@dataclass(frozen=True)
class Regular:
    """Frames at regular intervals with a random first frame in every epoch."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    every_s: Positive = 10.0
    """Seconds between two frames."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        """Return frames at regular intervals."""
        every = max(1, round(self.every_s * view.clip.fps))
        return set(range(view.clip.start_frame + rng.randrange(every), view.clip.end_frame, every))


@dataclass(frozen=True)
class Silent:
    """Random frames without an event, at least one: silent negatives (ProAssist's rho)."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    rate: Share = 0.1
    """Share of the silent frames."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        """Return random frames without an event."""
        quiet = sorted(set(view.frames) - view.updates - view.spoken)
        if not quiet or not self.rate:
            return set()
        return set(rng.sample(quiet, min(len(quiet), max(1, round(self.rate * len(quiet))))))


@dataclass(frozen=True)
class Complexity:
    """Random frames, more probable with more motion and events around them.

    A frame's weight is its motion relative to the window's mean, plus its events within 5 s
    relative to their mean, plus ``floor``. Frames are drawn without replacement by the keys
    u^(1/weight) of Efraimidis and Spirakis (2006).
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    rate: Share = 0.1
    """Share of the frames."""
    floor: Positive = 0.1
    """Weight of a frame without motion and events."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        """Return random frames by motion and events."""
        frames = np.arange(view.clip.start_frame, view.clip.end_frame)
        events = np.array(sorted(view.updates | view.spoken), dtype=float)
        density = (np.abs(frames[:, None] - events[None]) <= 5 * view.clip.fps).sum(1).astype(float)
        weights = np.full(len(frames), self.floor)
        for signal in (view.motion, density):
            if signal is not None and signal.mean() > 0:
                weights += signal / signal.mean()
        keys = [rng.random() ** (1 / weight) for weight in weights]
        count = round(self.rate * len(frames))
        return {int(frames[k]) for k in np.argsort(-np.array(keys), kind="stable")[:count]}


@dataclass(frozen=True)
class CombinedSampler:
    """Union of several samplers.

    Attributes:
        parts: The samplers.
    """

    parts: tuple[FrameSampler, ...]

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        """Return the frames of all parts."""
        return set().union(*(part(rng, view) for part in self.parts))


@dataclass(frozen=True)
class ClassBalanced:
    """Limits the frames without an event relative to those with one.

    Attributes:
        inner: Sampler whose frames are thinned.
        ratio: Maximum number of frames without an event per frame with one; at least one is kept.
    """

    inner: FrameSampler
    ratio: float = 3.0

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        """Return the frames of ``inner`` with fewer ones without an event."""
        given = self.inner(rng, view)
        positive = given & (view.updates | view.spoken)
        negative = sorted(given - positive)
        keep = min(len(negative), max(1, round(self.ratio * len(positive))))
        return positive | set(rng.sample(negative, keep))


def frame_sampler_motion(media: np.ndarray) -> np.ndarray:
    """Return (F,) mean absolute difference of each picture or feature from the one before; 0 for the first."""
    flat = media.reshape(len(media), -1)
    out = np.zeros(len(flat))
    for k in range(1, len(flat)):
        out[k] = np.abs(flat[k].astype(np.float32) - flat[k - 1].astype(np.float32)).mean()
    return out
