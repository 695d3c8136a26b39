"""The teacher-forced pass: what the model would decide and say if everything before it were the reference. A diagnostic.

    prospect-eval run --ckpt workbench-tiny --suite workbench --limit 3 --teacher-forced

The context is the reference's, so errors never compound: these are not scores of a stream. Definitions are those of
VideoLLM-online (2406.11816), as ProAssist evaluates them offline; per reference turn, whose *decisions* are the frames
after the turn before it up to its own:

* ``frame_diff``: own frame minus the first decision to speak, negated (early is negative). Without one, frames are
  looked ahead as if the turn had not been said, min(frames to the turn after, decisions - 1) of them: speaking at the
  m-th is m, never is their number. None where the video has no frame left to look at.
* ``nats``: mean cross-entropy of the turn's tokens, its end token among them; ``right``: how many from the first on are
  what greedy decoding would have said.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from prospect_core.model.modeling import DSTSmolVLM
from prospect_core.records import TeacherForcedTurn
from prospect_core.sequence.builder import SequenceBuilder, TokenSequence
from prospect_core.stream.kv_cache import StreamCache
from prospect_core.timeline import Episode, Utterance
from prospect_core.util.errors import UserError

#: tokens read at once
CHUNK = 1024


@torch.no_grad()
def run_teacher_forcing(
    model: DSTSmolVLM, tokenizer: Any, episode: Episode, frames_NID: Tensor, threshold: float
) -> list[TeacherForcedTurn]:
    """Every reference turn of an episode. ``frames_NID`` are the embeddings of all its frames; ``threshold`` is the
    speaking threshold."""
    config = model.config
    if "past" in config.ablated_inputs:
        raise UserError(
            "--teacher-forced: this model does without the past, and the pass would show it all; leave it out"
        )
    builder = SequenceBuilder.of(config, tokenizer)
    whole = _Reader(model, builder.window(episode), frames_NID, threshold)
    out: list[TeacherForcedTurn] = []
    turns = episode.utterances()
    last = -1
    for number, turn in enumerate(turns):
        own = turn.frame - episode.start_frame
        after = turns[number + 1].frame - episode.start_frame if number + 1 < len(turns) else episode.num_frames - 1
        speaks = whole.decisions(last, own)
        first = next((k for k, yes in enumerate(speaks) if yes), None)
        if first is not None:
            diff: int | None = first - (len(speaks) - 1)
        else:
            diff = _look_ahead(whole, builder, episode, turn, min(after - own, len(speaks) - 1))
        tokens, right, nats = whole.reply(own)
        out.append(
            TeacherForcedTurn(turn.frame, len(speaks), diff, first == len(speaks) - 1, tokens, right, round(nats, 6))
        )
        last = own
    return out


def _look_ahead(whole: _Reader, builder: SequenceBuilder, episode: Episode, turn: Utterance, bound: int) -> int | None:
    """The m-th frame after its own at which an unsaid turn would be said, or ``bound``."""
    own = turn.frame - episode.start_frame
    if own == episode.num_frames - 1:
        return None
    unsaid = replace(episode, events=tuple(event for event in episode.events if event not in turn.events))
    other = whole.with_sequence(builder.window(unsaid))
    speaks = other.decisions(own, own + bound)
    whole.cache.truncate(whole.read_to)
    return next((m for m, yes in enumerate(speaks, 1) if yes), bound)


class _Reader:
    """Reads a sequence once, from its beginning, as far as it is asked for."""

    def __init__(self, model: DSTSmolVLM, sequence: TokenSequence, frames_NID: Tensor, threshold: float) -> None:
        self.model, self.sequence, self.frames_NID, self.threshold = model, sequence, frames_NID, threshold
        self.cache, self.read_to = StreamCache(), 0
        self.frames_read = 0

    def with_sequence(self, sequence: TokenSequence) -> _Reader:
        """Another sequence with the same beginning, going on from here in the same cache."""
        other = _Reader(self.model, sequence, self.frames_NID, self.threshold)
        other.cache, other.read_to, other.frames_read = self.cache, self.read_to, self.frames_read
        return other

    def decisions(self, after: int, to: int) -> list[bool]:
        """Whether the model speaks on each frame after ``after`` up to ``to`` (numbers within the episode)."""
        places = self.sequence.frame_last[after + 1 : to + 1]
        if not places:
            return []
        begin = self.read_to
        hidden_1TD = self._read(places[-1] + 1)
        at_frames_1FD = hidden_1TD[:, [place - begin for place in places]]
        probs_F = self.model.speaking_head(at_frames_1FD)[0, :, 0].sigmoid()
        speaks: list[bool] = (probs_F >= self.threshold).tolist()
        return speaks

    def reply(self, own: int) -> tuple[int, int, float]:
        """(tokens, right from the first on, mean cross-entropy) of the reply on a frame that has been read."""
        labels = self.sequence.lm_labels
        first = next(k for k in range(self.read_to, len(labels)) if labels[k] >= 0)
        end = next((k for k in range(first, len(labels)) if labels[k] < 0), len(labels))
        begin = self.read_to
        hidden_1TD = self._read(end)
        # the token before each label foretells it
        logits_NV = self.model.lm_logits(hidden_1TD[0, first - 1 - begin : end - 1 - begin]).float()
        wanted_N = torch.tensor(labels[first:end], device=logits_NV.device)
        wrong = (logits_NV.argmax(-1) != wanted_N).nonzero()
        right = int(wrong[0]) if len(wrong) else len(wanted_N)
        return len(wanted_N), right, float(functional.cross_entropy(logits_NV, wanted_N))

    def _read(self, end: int) -> Tensor:
        """Hidden states (1, T, D) of the tokens not read yet, up to ``end``."""
        pieces = []
        image = self.model.config.image_token_id
        while self.read_to < end:
            ids = self.sequence.ids[self.read_to : min(end, self.read_to + CHUNK)]
            ids, slots = self._whole_frames(ids, image)
            frames = self.frames_NID[self.frames_read : self.frames_read + slots]
            ids_1T = torch.tensor([ids], device=self.model.device)
            embeds_1TD = self.model.joint_embed(ids_1T, frames if slots else None)
            pieces.append(self.model.read(embeds_1TD, past_key_values=self.cache))
            self.read_to += len(ids)
            self.frames_read += slots
        return torch.cat(pieces, 1)

    def _whole_frames(self, ids: list[int], image: int) -> tuple[list[int], int]:
        """The ids up to the last frame that is whole, and the number of frames in them."""
        size = self.model.config.tokens_per_frame
        broken = sum(token == image for token in ids) % size
        if broken:
            ids = ids[:-broken]
        return ids, sum(token == image for token in ids) // size
