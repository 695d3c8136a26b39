"""Which frames of a window carry loss: small samplers that add up, redrawn every epoch.

    python -c "from prospect_core.train.data.frame_samplers import *; help(Silent)"

Each is called with a private random generator and a `WindowView` and gives a set of video frames. `CombinedSampler` adds several up,
`ClassBalanced` thins out what another one gives.
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
    """A window as samplers see it: its clip and its pictures or features, where they were read ((F, ...), or None)."""

    clip: Episode
    media: np.ndarray | None = None

    @cached_property
    def motion(self) -> np.ndarray | None:
        """(F,) how much each picture differs from the one before; None where no pictures were read."""
        return None if self.media is None else frame_sampler_motion(self.media)

    @property
    def frames(self) -> range:
        """The video frames of the window."""
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
        """Frames of the window from ``before_s`` seconds before an event to ``after_s`` after it."""
        before, after = round(before_s * self.clip.fps), round(after_s * self.clip.fps)
        near = {frame for event in events for frame in range(event - before, event + after + 1)}
        return near & set(self.frames)


class FrameSampler(Protocol):
    """Chooses supervised frames."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        """Video frames of the view."""
        ...


@dataclass(frozen=True)
class Every:
    """All frames."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        return set(view.frames)


@dataclass(frozen=True)
class Transitions:
    """Frames near a step transition."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    before_s: NotNegative = 1.0
    """Seconds before it."""
    after_s: NotNegative = 1.0
    """Seconds after it."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        return view.around(view.updates, self.before_s, self.after_s)


@dataclass(frozen=True)
class Speaking:
    """Frames near an utterance."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    before_s: NotNegative = 1.0
    """Seconds before it."""
    after_s: NotNegative = 1.0
    """Seconds after it."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        return view.around(view.spoken, self.before_s, self.after_s)


@dataclass(frozen=True)
class KeyFrames:
    """The ``share`` of frames whose pictures differ most from the ones before; none where no pictures were compared."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    share: Share = 0.05
    """Share of the frames that are key frames."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        if view.motion is None:
            return set()
        count = round(self.share * len(view.frames))
        order = np.argsort(-view.motion, kind="stable")[:count]
        return {view.clip.start_frame + int(k) for k in order}


@dataclass(frozen=True)
class Regular:
    """Frames at regular intervals; the first one is drawn again in every epoch."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    every_s: Positive = 10.0
    """Seconds between two frames."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        every = max(1, round(self.every_s * view.clip.fps))
        return set(range(view.clip.start_frame + rng.randrange(every), view.clip.end_frame, every))


@dataclass(frozen=True)
class Silent:
    """A share ``rate`` of the frames on which nothing happens, at least one: silent negatives (ProAssist's rho)."""

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    rate: Share = 0.1
    """Share of the silent frames."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        quiet = sorted(set(view.frames) - view.updates - view.spoken)
        if not quiet or not self.rate:
            return set()
        return set(rng.sample(quiet, min(len(quiet), max(1, round(self.rate * len(quiet))))))


@dataclass(frozen=True)
class Complexity:
    """A share ``rate`` of all frames, drawn the more likely the more moves and the more happens around them.

    A frame's weight is its motion over the window's mean, plus its events within 5 s over their mean, plus ``floor``.
    Drawn without replacement by the keys u^(1/weight) of Efraimidis and Spirakis (2006).
    """

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT
    rate: Share = 0.1
    """Share of the frames."""
    floor: Positive = 0.1
    """Weight of a frame on which nothing moves and nothing happens."""

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
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
    """The frames of all its parts."""

    parts: tuple[FrameSampler, ...]

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        return set().union(*(part(rng, view) for part in self.parts))


@dataclass(frozen=True)
class ClassBalanced:
    """At most ``ratio`` frames without an event for every one with an event, out of what ``inner`` gives (at least 1)."""

    inner: FrameSampler
    ratio: float = 3.0

    def __call__(self, rng: random.Random, view: WindowView) -> set[int]:
        given = self.inner(rng, view)
        positive = given & (view.updates | view.spoken)
        negative = sorted(given - positive)
        keep = min(len(negative), max(1, round(self.ratio * len(positive))))
        return positive | set(rng.sample(negative, keep))


def frame_sampler_motion(media: np.ndarray) -> np.ndarray:
    """(F,) mean absolute difference of each frame from the one before (0 for the first), of pictures or of features."""
    flat = media.reshape(len(media), -1)
    out = np.zeros(len(flat))
    for k in range(1, len(flat)):
        out[k] = np.abs(flat[k].astype(np.float32) - flat[k - 1].astype(np.float32)).mean()
    return out
