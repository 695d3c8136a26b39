"""Polls and teacher forcing of chat models."""

from __future__ import annotations

import numpy as np

from prospect_core.records import Knobs, ReplayProtocol
from prospect_core.stream.replay import replay_episode
from prospect_core.timeline import Episode, Event, Poll, Step, Task
from prospect_eval.models.chat import ChatAnswer, ChatStream

TASK = Task("tidy up", (Step("S1", "put the cube away"),))
PICTURES = np.zeros((8, 4, 4, 3), np.uint8)


class Echo(ChatStream):
    """Answers with the number of pictures that it is shown; keeps every chat that it was asked with."""

    def __init__(self) -> None:
        super().__init__(None)
        self.chats: list[list[dict]] = []

    def answer(self, messages):
        self.chats.append(messages)
        shown = sum(part["type"] == "image" for message in messages for part in message["content"])
        return ChatAnswer(f"{shown} pictures")


def texts(messages):
    return [
        (message["role"], part["text"])
        for message in messages
        for part in message["content"]
        if part["type"] == "text" and not part["text"].startswith("\n")
    ]


def replay(protocol, polls=(), events=()):
    episode = Episode("e", "v", 2, 0, 8, TASK, tuple(events), polls=tuple(polls)).validate()
    stream = Echo()
    knobs = Knobs(protocol=protocol)
    return stream, replay_episode(stream, episode, PICTURES, knobs, "echo")[0]


def test_chat_polled_protocol_answers_only_polls():
    polls = (Poll("a", 1.0, "What is seen?", ("a cube", "a ball")), Poll("b", 3.5, "And now?"))
    stream, record = replay(ReplayProtocol("polled"), polls)
    assert [(answer.poll, answer.frame, answer.text) for answer in record.answers] == [
        ("a", 2, "3 pictures"),
        ("b", 7, "8 pictures"),
    ]
    assert len(stream.chats) == 2
    assert texts(stream.chats[0])[-1] == ("user", "What is seen?\nA. a cube\nB. a ball")
    assert "What is seen?" not in str(texts(stream.chats[1]))
    assert record.utterances == ()


def test_chat_cumulative_poll_is_kept():
    polls = (Poll("a", 1.0, "What is seen?", history="cumulative"), Poll("b", 3.5, "And now?"))
    stream, _ = replay(ReplayProtocol("polled"), polls)
    said = texts(stream.chats[1])
    assert ("user", "What is seen?") in said
    assert ("assistant", "3 pictures") in said


def test_chat_polls_change_no_autonomous_reply():
    _, without = replay(None)
    _, asked = replay(None, (Poll("a", 1.0, "What is seen?"),))
    assert asked.utterances == without.utterances
    assert len(without.utterances) == 8


def test_chat_gold_history_replaces_own_replies():
    gold = (Event("g", 1.0, "assistant", "Take the cube."),)
    stream, record = replay(ReplayProtocol(history="gold"), events=gold)
    said = [text for role, text in texts(stream.chats[-1]) if role == "assistant"]
    assert said == ["Take the cube."]
    assert len(record.utterances) == 8
