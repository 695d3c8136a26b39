"""A chat model under a clock: the prompt has the times of the frames that it sees."""

from __future__ import annotations

from typing import Any

import numpy as np

from prospect_core.stream.replay import replay_episode
from prospect_eval.models.chat import ChatAnswer, ChatStream
from tests.helpers.clocked_streams import short_video, simulated


class NotingChat(ChatStream):
    """Keeps the texts of its last prompt and says where it is."""

    texts: tuple[str, ...] = ()

    def answer(self, messages: list[dict[str, Any]]) -> ChatAnswer:
        self.texts = tuple(part["text"].strip() for part in messages[1]["content"] if part["type"] == "text")
        return ChatAnswer("SILENT" if self.frame < 5 else f"Frame {self.frame}.", context_tokens=100, tokens=4)


def test_chat_stream_dropped_frames_keep_times_of_seen_ones():
    """2.5 frames a step at 1 frame per second: frames 0, 2, 5 and 7 are seen."""
    chat = NotingChat(None)
    episode = short_video(10, fps=1, said={3.5: "What now?"})
    record, _ = replay_episode(chat, episode, [np.zeros((4, 4, 3), np.uint8)] * 10, simulated(frame=2500), "chat")
    assert record.problems() == []
    assert record.dropped == ((1, 1), (3, 4), (6, 6), (8, 9))
    shown = ["Frame from 00:00:", "Frame from 00:02:", 'The user says: "What now?"', "Frame from 00:05:"]
    assert list(chat.texts) == shown
    assert [(u.decided, u.frame, u.text) for u in record.utterances] == [(5, 7, "Frame 5.")]
    assert [(u.decided, u.text) for u in record.undelivered] == [(7, "Frame 7.")]
