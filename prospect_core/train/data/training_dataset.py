"""`DSTTrainingDataset`: training windows with their supervised frames and their pictures.

A sample is (window, supervised frame). Attention is causal, so all samples of a window form one
sequence with labels on the sampled frames only. `split_training_dataset_samples` separates them,
with the same gradients at many times the cost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch.utils.data import Dataset as TorchDataset

from prospect_core.data.jsonl_index import clips_from_jsonl_index
from prospect_core.sequence.annotation_coverage import AnnotationCoverage, mask_unannotated_sequence_labels
from prospect_core.sequence.builder import SequenceBuilder, TokenSequence
from prospect_core.sequence.labels import IGNORE
from prospect_core.sequence.layout import Context, layout_newest_turns
from prospect_core.timeline import Episode
from prospect_core.train.data.curriculum import Curriculum
from prospect_core.train.data.frame_samplers import Every, FrameSampler, WindowView
from prospect_core.train.data.patch_captions import patch_caption_sequence
from prospect_core.train.data.window_sampler import (
    TrainingWindow,
    WindowSampler,
    window_sampler_frame_costs,
    window_sampler_prior_dialogue,
)
from prospect_core.util.errors import DataError

#: returns frames ``start .. end - 1`` of an episode's video: (F, size, size, 3) uint8 pictures,
#: or (F, I, D) float features
Media = Callable[[Episode, int, int], np.ndarray]
#: number of windows from which the share of positive labels is estimated
RATE_WINDOWS = 100
#: minimum numbers of windows and steps that are sorted by length together: a batch is as long as
#: its longest window, the rest is padding. Every worker process sorts all of them
ALIKE_WINDOWS, ALIKE_STEPS = 192, 24


@dataclass(frozen=True)
class SamplingPlan:
    """Settings of the draws of each epoch.

    Attributes:
        windows: Draws windows.
        frames: Chooses the supervised frames of a window.
        max_tokens: Maximum tokens of a window.
        dialogues_per_video: Maximum number of episodes of one video per epoch; all if None.
        windows_per_episode: Number of windows that an epoch draws from each episode.
        curriculum: Restricts episodes and window lengths early in the training.
        patch_captions: Whether image slots learn captions
            (`prospect_core.train.data.patch_captions`).
    """

    windows: WindowSampler = field(default_factory=WindowSampler)
    frames: FrameSampler = field(default_factory=Every)
    max_tokens: int = 2048
    dialogues_per_video: int | None = None
    windows_per_episode: int = 1
    curriculum: Curriculum | None = None
    patch_captions: bool = False


class DSTTrainingDataset(TorchDataset[tuple[TokenSequence, np.ndarray]]):
    """Training windows; the same seed, epoch and progress give the same items.

    An item is ``(TokenSequence, media of the window's frames)``; `DSTDataCollator` makes batches of
    them.

    Args:
        episodes: Episodes to draw from.
        builder: Builds token sequences.
        media: Returns pictures or stored features.
        draws: Settings of the draws.
        seed: Random seed.
        coverage: By episode id, what the episode's source annotates; the default of
            `AnnotationCoverage` for other episodes.

    Raises:
        DataError: If there are no episodes.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        builder: SequenceBuilder,
        media: Media,
        draws: SamplingPlan,
        seed: int = 0,
        coverage: Mapping[str, AnnotationCoverage] | None = None,
    ) -> None:
        if not episodes:
            raise DataError("no episodes to train on")
        self.builder, self.media, self.draws, self.seed = builder, media, draws, seed
        self.episodes, self.coverage = episodes, coverage or {}
        self._videos = [clip.video for clip in clips_from_jsonl_index(episodes)]
        self._easiest = [] if draws.curriculum is None else Curriculum.ranked(episodes)
        self.progress, self.span = 0.0, 0.0
        #: number of windows of an optimizer step in all processes: windows of a step have
        #: similar lengths
        self.together = 1
        #: the number of windows is a multiple of this, so that all processes read equally
        #: many; added windows carry no loss (a loader with too few would repeat some)
        self.multiple = 1
        self._places: dict[int, list[int]] = {}
        #: by episode: tokens of its prompt without and with states, and cumulative tokens
        #: of the frames before each with their text
        self._sizes: dict[str, tuple[list[int], np.ndarray]] = {}
        self.set_epoch(0)

    def set_epoch(self, epoch: int, progress: float | None = None, span: float = 0.0) -> None:
        """Draw other windows in another order from now on.

        Args:
            epoch: Number of the epoch.
            progress: Share of the training that is done when the epoch starts, 0 to 1, for the
                curriculum. None keeps ``progress`` and ``span``, because accelerate's loaders call
                this method too.
            span: Share of the training that the epoch takes.
        """
        self.epoch = epoch
        if progress is not None:
            self.progress, self.span = progress, span
        rng = random.Random(f"{self.seed}/{epoch}/order")
        by_video: dict[str, list[int]] = {}
        for k, video in enumerate(self._videos):
            by_video.setdefault(video, []).append(k)
        limit = self.draws.dialogues_per_video
        chosen = [k if limit is None else rng.sample(k, min(limit, len(k))) for k in by_video.values()]
        # the order is fixed here, so an index is a time of the training
        self._order = [k for group in chosen for k in group] * self.draws.windows_per_episode
        rng.shuffle(self._order)
        self._places.clear()

    def __len__(self) -> int:
        return -(-len(self._order) // self.multiple) * self.multiple

    def __getitem__(self, index: int) -> tuple[TokenSequence, np.ndarray]:
        if index >= len(self._order):
            sequence, media = self[index % len(self._order)]
            return clear_training_dataset_labels(sequence), media
        window, rng = self.window(index)
        media = self.media(window.episode, window.start, window.end)
        if self.draws.patch_captions:
            return patch_caption_sequence(self.builder, window.clip, rng), media
        supervised = self.draws.frames(rng, WindowView(window.clip, media))
        sequence = window.tokens(self.builder, supervised)
        coverage = self.coverage.get(window.episode.id, AnnotationCoverage())
        return mask_unannotated_sequence_labels(sequence, coverage), media

    def window(self, index: int) -> tuple[TrainingWindow, random.Random]:
        """Return the window of an index in this epoch, and the generator that chooses its frames."""
        return self._draw(index if self.together == 1 else self._place(index))

    def _place(self, index: int) -> int:
        """Return the draw at an index: over some steps, windows of similar length are adjacent."""
        size = self.together * max(ALIKE_STEPS, ALIKE_WINDOWS // self.together)
        chunk, place = divmod(index, size)
        if chunk not in self._places:
            begin = index - place
            drawn = range(begin, min(len(self._order), begin + size))
            alike = sorted(drawn, key=self.tokens)
            steps = [alike[k : k + self.together] for k in range(0, len(alike), self.together)]
            # the incomplete step stays last
            last = [steps.pop()] if len(steps[-1]) < self.together else []
            random.Random(f"{self.seed}/{self.epoch}/{chunk}/steps").shuffle(steps)
            self._places = {chunk: [k for step in steps + last for k in step]}
        return self._places[chunk][place]

    def _begin(self, index: int) -> tuple[random.Random, Episode, int | None]:
        """Return generator, episode, and longest window that the curriculum allows, for a draw."""
        draws = self.draws
        rng = random.Random(f"{self.seed}/{self.epoch}/{index}")
        chosen, longest = self._order[index], None
        if draws.curriculum is not None:
            progress = min(1.0, self.progress + self.span * index / len(self._order))
            admitted = self._easiest[: draws.curriculum.admitted(len(self.episodes), progress)]
            chosen = chosen if chosen in admitted else rng.choice(admitted)
            longest = draws.curriculum.longest(draws.windows.min_frames, draws.windows.max_frames, progress)
        return rng, self.episodes[chosen], longest

    def _draw(self, index: int) -> tuple[TrainingWindow, random.Random]:
        rng, episode, longest = self._begin(index)
        return self.draws.windows.draw(rng, episode, self.builder, self.draws.max_tokens, longest), rng

    def tokens(self, index: int) -> int:
        """Estimate the tokens of a draw without drawing it, which takes many times as long."""
        rng, episode, longest = self._begin(index)
        if episode.id not in self._sizes:
            prompts = [self.builder.prompt(episode.task, Context(state)) for state in (None, episode.initial_state)]
            costs = np.cumsum([0, *window_sampler_frame_costs(self.builder, episode)], dtype=np.int32)
            self._sizes[episode.id] = [len(prompt.ids) for prompt in prompts], costs
        prompt_tokens, before = self._sizes[episode.id]
        start, end, _, opening = self.draws.windows.place(rng, episode, self.builder, longest)
        said = window_sampler_prior_dialogue(episode, start) if opening.recent else ()
        recent = sum(
            len(self.builder.text(text)) for _, text in layout_newest_turns(self.builder, said, opening.recent)
        )
        frames = int(before[end - episode.start_frame] - before[start - episode.start_frame])
        return prompt_tokens[opening.states] + recent + frames

    def label_rates(self, names: Sequence[str] = ("speaking", "update")) -> dict[str, float | None]:
        """Return the share of positives among the binary labels of this epoch's first windows.

        A share is None if there are no such labels.

        Args:
            names: Objectives: ``speaking``, ``update`` or ``mistake``.
        """
        counts = {name: [0, 0] for name in names}
        for index in range(min(len(self._order), RATE_WINDOWS)):
            sequence, _ = self[index]
            by_name = {"speaking": sequence.speaking, "update": sequence.update, "mistake": sequence.mistakes}
            for name in names:
                labels = by_name[name]
                counts[name][0] += labels.count(1)
                counts[name][1] += labels.count(0) + labels.count(1)
        return {name: positive / total if total else None for name, (positive, total) in counts.items()}


class Mixed:
    """Media of the episodes of several datasets with distinct ids.

    Args:
        parts: Episodes and media of each dataset.
    """

    def __init__(self, parts: Sequence[tuple[Sequence[Episode], Media]]) -> None:
        self._media = {clip.id: media for episodes, media in parts for clip in clips_from_jsonl_index(episodes)}

    def __call__(self, episode: Episode, start: int, end: int) -> np.ndarray:
        """Return the media of frames ``start .. end - 1`` from the episode's dataset."""
        return self._media[episode.id](episode, start, end)


def clear_training_dataset_labels(sequence: TokenSequence) -> TokenSequence:
    """Return the window without labels."""
    frames = len(sequence.frames)
    return replace(
        sequence,
        lm_labels=[IGNORE] * len(sequence.lm_labels),
        speaking=[IGNORE] * frames,
        update=[IGNORE] * frames,
        states=[[IGNORE] * len(states) for states in sequence.states],
        mistakes=[IGNORE] * len(sequence.mistakes),
    )


def split_training_dataset_samples(
    sequence: TokenSequence, media: np.ndarray
) -> list[tuple[TokenSequence, np.ndarray]]:
    """Separate the samples of a window: the context of each supervised frame up to its last learned token."""
    out = []
    for k in range(len(sequence.frames)):
        begin = sequence.frame_last[k] + 1
        # a frame's tokens extend to the first slot of the next frame
        end = sequence.frame_last[k + 1] + 1 if k + 1 < len(sequence.frames) else len(sequence.ids)
        learns = [t for t in range(begin, end) if sequence.lm_labels[t] != IGNORE]
        labels = (sequence.speaking[k], sequence.update[k], *sequence.states[k], *sequence.mistakes[k : k + 1])
        if not learns and all(label == IGNORE for label in labels):
            continue
        stop = learns[-1] + 1 if learns else begin
        words = [IGNORE] * begin + sequence.lm_labels[begin:stop]
        steps = [IGNORE] * len(sequence.markers)
        sample = replace(
            sequence,
            ids=sequence.ids[:stop],
            lm_labels=words,
            frames=sequence.frames[: k + 1],
            frame_last=sequence.frame_last[: k + 1],
            speaking=[IGNORE] * k + [sequence.speaking[k]],
            update=[IGNORE] * k + [sequence.update[k]],
            states=[steps] * k + [sequence.states[k]],
            mistakes=[IGNORE] * k + sequence.mistakes[k : k + 1],
        )
        out.append((sample, media[: k + 1]))
    return out
