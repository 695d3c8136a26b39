"""Patch captions: image slots learn words for the whole picture or for their own patch.

    prospect data captions --output data/map --tells map
    prospect train data=data/map sampling=all sampling.patch_captions=true model.tokens_per_frame=16 loss.speaking.weight=0

A caption has one part per image slot, separated by commas, each of a few words (``cone red hold, -,
hand, ...``), or one part for all slots (``red cone up box``). The target after a slot is a random
word of its part that is a single token, redrawn in each epoch. The vision tower thus gets a direct
target. A sentence after the picture reaches it only through attention, which has to be learned
first.
"""

from __future__ import annotations

import random

from prospect_core.sequence.builder import SequenceBuilder, TokenSequence
from prospect_core.sequence.labels import IGNORE
from prospect_core.sequence.layout import Context
from prospect_core.timeline import Episode
from prospect_core.util.errors import DataError


def patch_caption_sequence(builder: SequenceBuilder, clip: Episode, rng: random.Random) -> TokenSequence:
    """Build the sequence of a clip's prompt and frames with labels on the slots of captioned frames.

    No other token carries loss and replies are not shown.

    Args:
        builder: Builds pieces of the sequence.
        clip: The clip, whose utterances are the captions.
        rng: Draws the word of each slot.

    Raises:
        DataError: If a caption has another number of parts, or a part has no single-token word.
    """
    prompt = builder.prompt(clip.task, Context())
    ids = list(prompt.ids)
    labels = [IGNORE] * len(ids)
    captions = {utterance.frame: utterance.text for utterance in clip.utterances()}
    frames = list(range(clip.start_frame, clip.end_frame))
    last = []
    for frame in frames:
        ids += builder.frame()
        labels += (
            _words(builder, clip, captions[frame], rng) if frame in captions else [IGNORE] * builder.tokens_per_frame
        )
        last.append(len(ids) - 1)
    # a label is at the target's position, one after its slot
    return TokenSequence(
        [*ids, builder.special.eos],
        list(prompt.markers),
        [IGNORE, *labels],
        frames,
        last,
        [IGNORE] * len(frames),
        [IGNORE] * len(frames),
        [[IGNORE] * len(prompt.markers)] * len(frames),
        [IGNORE] * len(frames),
    )


def _words(builder: SequenceBuilder, clip: Episode, text: str, rng: random.Random) -> list[int]:
    parts = text.split(", ")
    parts = parts * builder.tokens_per_frame if len(parts) == 1 else parts
    if len(parts) != builder.tokens_per_frame:
        raise DataError(
            f"{clip.id}: {text!r} describes {len(parts)} places, a frame has {builder.tokens_per_frame} tokens; use"
            " captions that `prospect data captions` makes with --tells held, or with --tells map for"
            " model.tokens_per_frame=16, or remove sampling.patch_captions"
        )
    out = []
    for part in parts:
        tokens = [token for token, *more in (builder.text(f" {word}") for word in part.split()) if not more]
        if not tokens:
            raise DataError(
                f"{clip.id}: no word of {part!r} is one token of the tokenizer; train one on these captions"
            )
        out.append(rng.choice(tokens))
    return out
