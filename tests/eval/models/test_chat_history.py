"""Chats of streams: each begins with the chat before it until a block of pictures is removed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.util.errors import UserError
from prospect_eval.models.chat_encoding import CHAT_ENCODINGS, SILENT, find_chat_encoding
from prospect_eval.models.chat_history import NOT_SHOWN, ChatHistory

ENCODINGS = sorted(CHAT_ENCODINGS)


def flat(messages):
    """Return the parts of a chat in the order in which a template reads them."""
    return [
        (message["role"], part.get("text", part.get("image"))) for message in messages for part in message["content"]
    ]


def begins_with(messages, before):
    """Return whether a chat extends another one, apart from the end of its last message."""
    return flat(messages)[: len(flat(before))] == flat(before)


def pictures(messages):
    return [value for _, value in flat(messages) if isinstance(value, int)]


#: (user's words, assistant's words) of a frame
FRAME = st.tuples(st.sampled_from([None, None, None, "What now?"]), st.sampled_from(["", "", "", "", "Pour it."]))


@given(
    frames=st.lists(FRAME, min_size=1, max_size=60),
    encoding=st.sampled_from(ENCODINGS),
    shown=st.integers(1, 12),
    dropped=st.integers(1, 12),
)
def test_chat_history_between_removals_only_grows(frames, encoding, shown, dropped):
    history = ChatHistory("Help.", CHAT_ENCODINGS[encoding], shown, dropped)
    before, said, asked, removals = [], [], [], 0
    for number, (user, words) in enumerate(frames):
        count = len(pictures(before))
        history.add_frame(number, number / 2, user)
        now = history.messages()
        if count + 1 > shown:
            removals += 1
            assert len(pictures(now)) == count + 1 - min(dropped, shown)
        else:
            assert begins_with(now, before)
            assert len(pictures(now)) == count + 1
        assert pictures(now)[-1] == number
        assert pictures(now) == list(range(number + 1 - len(pictures(now)), number + 1))
        roles = [message["role"] for message in now]
        assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)][: len(roles)]
        assert all(message["content"] for message in now)
        asked += [f'The user says: "{user}"'] if user else []
        said += [words] if words else []
        texts = [value for _, value in flat(now)]
        assert [text for text in texts if text in (*asked, "Pour it.")].count("Pour it.") == len(said) - bool(words)
        assert len([text for text in texts if text in asked]) == len(asked)
        history.add_answer(words)
        before = now
    if dropped == 1 and len(frames) > shown:
        assert removals == len(frames) - shown


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_chat_history_long_silence_stays_short(encoding):
    history = ChatHistory("Help.", CHAT_ENCODINGS[encoding], 8, 4)
    lengths = []
    for number in range(400):
        history.add_frame(number, number)
        lengths.append(len(flat(history.messages())))
        history.add_answer("")
    assert max(lengths[200:]) == max(lengths[100:200])
    assert max(lengths) <= 1 + 3 * 9


def test_chat_history_silent_turns_answer_each_frame():
    history = ChatHistory("Help.", CHAT_ENCODINGS["generic"])
    for number, words in enumerate(["", "Pour it.", ""]):
        history.add_frame(number, number)
        history.add_answer(words)
    assert flat(history.messages())[1:] == [
        ("user", "\nFrame from 00:00:"), ("user", 0), ("assistant", SILENT),
        ("user", "\nFrame from 00:01:"), ("user", 1), ("assistant", "Pour it."),
        ("user", "\nFrame from 00:02:"), ("user", 2), ("assistant", SILENT),
    ]  # fmt: skip


def test_chat_history_removed_block_leaves_dialogue():
    history = ChatHistory("Help.", CHAT_ENCODINGS["generic"], 4, 3)
    for number, (user, words) in enumerate([(None, ""), (None, "Pour it."), ("Done?", ""), (None, "")]):
        history.add_frame(number, number, user)
        history.add_answer(words)
    history.add_frame(4, 64.0)
    assert flat(history.messages())[1:] == [
        ("user", NOT_SHOWN), ("assistant", "Pour it."), ("user", 'The user says: "Done?"'), ("assistant", SILENT),
        ("user", "\nFrame from 00:03:"), ("user", 3), ("assistant", SILENT), ("user", "\nFrame from 01:04:"), ("user", 4),
    ]  # fmt: skip


def test_chat_history_joined_frames_share_user_turn():
    history = ChatHistory("Help.", CHAT_ENCODINGS["qwen_vl"])
    history.add_frame(0, 0)
    history.add_answer("")
    history.add_frame(1, 0.5)
    assert [message["role"] for message in history.messages()] == ["system", "user"]


def test_chat_history_picture_first_puts_time_after():
    history = ChatHistory("Help.", CHAT_ENCODINGS["llava_onevision"])
    history.add_frame(0, 61)
    assert flat(history.messages())[1:] == [("user", 0), ("user", "\n(Frame from 01:01)")]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_chat_history_question_changes_nothing(encoding):
    history = ChatHistory("Help.", CHAT_ENCODINGS[encoding])
    history.add_frame(0, 0)
    history.add_answer("")
    before = history.messages()
    asked = history.messages("What is seen?")
    assert begins_with(asked, before)
    assert flat(asked)[-1] == ("user", "What is seen?")
    assert history.messages() == before
    history.add_exchange("What is seen?", "A cup.")
    assert flat(history.messages())[-2:] == [("user", "What is seen?"), ("assistant", "A cup.")]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("HuggingFaceTB/SmolVLM2-2.2B-Instruct", "smolvlm2"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen_vl"),
        ("Qwen3-VL-4B", "qwen_vl"),
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf", "llava_onevision"),
        ("OpenGVLab/InternVL3-8B", "internvl"),
        ("my-model", "generic"),
        ("qwen3-8b", "generic"),
    ],
)
def test_find_chat_encoding_by_model_name(model, name):
    assert find_chat_encoding(model).name == name


def test_find_chat_encoding_asked_name_wins():
    assert find_chat_encoding("Qwen2.5-VL", "generic").name == "generic"
    with pytest.raises(UserError, match="--chat-encoding 'quen' is unknown: use one of generic"):
        find_chat_encoding("Qwen2.5-VL", "quen")
