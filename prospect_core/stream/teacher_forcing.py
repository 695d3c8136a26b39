"""Teacher-forced pass: predictions with the reference as context; a diagnostic, not a score of a stream.

    prospect-eval run --ckpt workbench-tiny --suite workbench --limit 3 --teacher-forced

With the reference's context, errors never accumulate. The definitions follow VideoLLM-online
(2406.11816), as in ProAssist's offline evaluation. The *decisions* of a reference turn are the
frames after the turn before it, up to its own frame:

* ``frame_diff``: the first decision to speak minus the turn's frame; early is negative. Without
  such a decision, the pass continues as if the turn had not been spoken, for min(frames to the next
  turn, decisions - 1) frames: speaking at the m-th frame is m, never is that number. None if the
  video has no frame left.
* ``nats``: mean cross-entropy of the turn's tokens, including the end token. ``right``: number of
  leading tokens that greedy decoding predicts.
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

#: tokens per forward pass
CHUNK = 1024


@torch.no_grad()
def run_teacher_forcing(
    model: DSTSmolVLM, tokenizer: Any, episode: Episode, frames_NID: Tensor, threshold: float
) -> list[TeacherForcedTurn]:
    """Evaluate every reference turn of an episode.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        episode: The episode.
        frames_NID: Embeddings of all its frames.
        threshold: Speaking threshold, 0 to 1.

    Raises:
        UserError: If the model ablates the past, which this pass would show.
    """
    config = model.config
    if "past" in config.ablated_inputs:
        raise UserError(
            "--teacher-forced: not possible for a model without the past, because the pass shows the past; remove the option"
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
    """Return m if the model speaks at the m-th frame after an omitted turn, at most ``bound``."""
    own = turn.frame - episode.start_frame
    if own == episode.num_frames - 1:
        return None
    unsaid = replace(episode, events=tuple(event for event in episode.events if event not in turn.events))
    other = whole.with_sequence(builder.window(unsaid))
    speaks = other.decisions(own, own + bound)
    whole.cache.truncate(whole.read_to)
    return next((m for m, yes in enumerate(speaks, 1) if yes), bound)


class _Reader:
    """Reads a sequence once from its start, as far as requested."""

    def __init__(self, model: DSTSmolVLM, sequence: TokenSequence, frames_NID: Tensor, threshold: float) -> None:
        self.model, self.sequence, self.frames_NID, self.threshold = model, sequence, frames_NID, threshold
        self.cache, self.read_to = StreamCache(), 0
        self.frames_read = 0

    def with_sequence(self, sequence: TokenSequence) -> _Reader:
        """Return a reader of another sequence with the same start, which continues in the same cache."""
        other = _Reader(self.model, sequence, self.frames_NID, self.threshold)
        other.cache, other.read_to, other.frames_read = self.cache, self.read_to, self.frames_read
        return other

    def decisions(self, after: int, to: int) -> list[bool]:
        """Return whether the model speaks on each frame after ``after`` up to ``to``, numbered in the episode."""
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
        """Return (tokens, leading tokens predicted, mean cross-entropy) of the reply on a frame already read."""
        labels = self.sequence.lm_labels
        first = next(k for k in range(self.read_to, len(labels)) if labels[k] >= 0)
        end = next((k for k in range(first, len(labels)) if labels[k] < 0), len(labels))
        begin = self.read_to
        hidden_1TD = self._read(end)
        # the token before each label predicts it
        logits_NV = self.model.lm_logits(hidden_1TD[0, first - 1 - begin : end - 1 - begin]).float()
        wanted_N = torch.tensor(labels[first:end], device=logits_NV.device)
        wrong = (logits_NV.argmax(-1) != wanted_N).nonzero()
        right = int(wrong[0]) if len(wrong) else len(wanted_N)
        return len(wanted_N), right, float(functional.cross_entropy(logits_NV, wanted_N))

    def _read(self, end: int) -> Tensor:
        """Read the tokens up to ``end`` that are not read yet; return their hidden states (1, T, D)."""
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
        """Return the ids up to the last complete frame, and the number of frames in them."""
        size = self.model.config.tokens_per_frame
        broken = sum(token == image for token in ids) % size
        if broken:
            ids = ids[:-broken]
        return ids, sum(token == image for token in ids) // size
