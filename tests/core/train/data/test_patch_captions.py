"""Patch captions: the target token of each image slot."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
import torch

from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.labels import IGNORE
from prospect_core.timeline import Event, Task
from prospect_core.train.data.patch_captions import patch_caption_sequence
from prospect_core.train.objectives.losses import next_token_targets
from prospect_core.util.errors import DataError
from tests.helpers.commands import run_cli
from tests.helpers.training import SMALL

pytestmark = pytest.mark.integration


@pytest.fixture
def clip(short_world, builder):
    episode = next(short_world.episodes("train"))
    every = {word for step in episode.task.steps for word in step.name.split()}
    words = sorted(word for word in every if len(builder.text(f" {word}")) == 1)
    texts = {0: f"{words[0]} {words[1]}, {words[1]}, {words[2]}, {words[0]}", 2: words[0]}
    events = tuple(Event(f"a{k}", k / 2, "assistant", text, frame=k) for k, text in texts.items())
    return replace(episode, start_frame=0, end_frame=3, task=Task("x", ()), events=events)


@pytest.fixture
def builder(tokenizer):
    return SequenceBuilder(tokenizer, 4)


def followers(sequence):
    """Return the target token of every image slot, or None."""
    speaks, target = next_token_targets(torch.tensor([sequence.lm_labels]))
    wanted = iter(target.tolist())
    told = [next(wanted) if one else None for one in speaks[0].tolist()]
    return told


def test_patch_captions_label_each_slot_with_its_word(builder, clip):
    token = lambda word: builder.text(f" {word}")[0]  # noqa: E731
    parts = [part.split() for part in clip.events[0].text.split(", ")]
    whole = clip.events[1].text
    seen = [Counter() for _ in range(4)]
    for seed in range(200):
        sequence = patch_caption_sequence(builder, clip, random.Random(seed))
        told = followers(sequence)
        slots = [k for k, token_id in enumerate(sequence.ids) if token_id == builder.special.image]
        assert len(slots) == 12
        assert [k for k, one in enumerate(told) if one is not None] == [*slots[:4], *slots[8:]]
        for place, slot in enumerate(slots[:4]):
            seen[place][told[slot]] += 1
        assert {told[slot] for slot in slots[8:]} == {token(whole)}
    for place, words in enumerate(parts):
        assert set(seen[place]) == {token(word) for word in words}
        assert min(seen[place].values()) >= 200 / len(words) * 0.7


def test_patch_captions_label_nothing_else(builder, clip):
    sequence = patch_caption_sequence(builder, clip, random.Random(0))
    assert len(sequence.lm_labels) == len(sequence.ids)
    assert set(sequence.speaking + sequence.update) == {IGNORE}
    assert sequence.frames == [0, 1, 2]
    assert [sequence.ids[k] for k in sequence.frame_last] == [builder.special.image] * 3
    rest = sequence.ids[sequence.frame_last[0] + 1 :]
    assert set(rest) == {builder.special.image, builder.special.eos}


def test_patch_captions_other_shape_raises(builder, clip):
    for text, line in (("a, b", "describes 2 places, a frame has 4 tokens"), ("qqqqzzzz", "no word of 'qqqqzzzz'")):
        wrong = replace(clip, events=(replace(clip.events[0], text=text),))
        with pytest.raises(DataError, match=line):
            patch_caption_sequence(builder, wrong, random.Random(0))


def test_train_command_learns_patch_captions(tmp_path):
    assert run_cli("data", "captions", "--output", tmp_path / "map", "--count", 2, "--tells", "map") == 0
    overrides = [o for o in SMALL if not o.startswith(("model.vision.", "model.tokens_per_frame"))]
    code = run_cli(
        "train", *overrides, f"data={tmp_path / 'map'}", f"output={tmp_path / 'out'}", "sampling=all",
        "sampling.patch_captions=true", "model.tokens_per_frame=16", "model.vision.image_size=64", "model.vision.patch_size=8",
        "model.vision.stem_width=8", "model.vision.hidden_size=32", "model.vision.intermediate_size=64",
        "model.vision.layers=1", "model.vision.heads=2", "train.max_steps=3", "eval.thresholds=false",
    )  # fmt: skip
    assert code == 0
