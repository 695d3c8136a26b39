"""The sequence builder: layout, labels, and tokens with loss."""

from __future__ import annotations

import pytest

from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.context_noise import ContextNoise
from prospect_core.sequence.labels import IGNORE, make_sequence_event_labels
from prospect_core.sequence.layout import Context, layout_step_line, layout_update_text
from prospect_core.sequence.tokenizer import SPECIAL_TOKENS, SpecialIds, train_tokenizer
from prospect_core.timeline import DialogState, Episode, Event, Step, Task

pytestmark = pytest.mark.integration

TASK = Task("tea", (Step("S1", "boil"), Step("S2", "pour")))
EPISODE = Episode(
    "e", "v", 2, 0, 12, TASK,
    (
        Event("u", 0.5, "user", "What now?"),
        Event("a", 1.0, "assistant", "Boil."),
        Event("d", 3.0, "transition", step="S1", change="start"),
        Event("c", 4.0, "transition", step="S1", change="complete"),
        Event("b", 4.0, "assistant", "Pour."),
    ),
).validate()  # fmt: skip


@pytest.fixture
def builder(tokenizer):
    return SequenceBuilder(tokenizer, 2, max_user_tokens=6)


def decode(builder, ids):
    return builder.tokenizer.decode(ids)


def test_sequence_layout_by_hand(builder):
    sequence = builder.window(EPISODE)
    text = decode(builder, sequence.ids)
    body = text[text.index("<image>") :]
    two = "<image><image>"
    assert body == (
        two * 2 + "[USER]What now?" + two + "[ASST]Boil.<eos>" + two * 4 + "[DST]S1->start<eos>"
        + two * 2 + "[DST]S1->complete<eos>[ASST]Pour.<eos>" + two * 3
    )  # fmt: skip
    assert text.startswith("You watch")
    assert "S1 (not started): boil<step>\nS2 (not started): pour<step>\n" in text
    assert [sequence.ids[m] for m in sequence.markers] == [builder.special.step] * 2
    assert len(sequence.frame_last) == 12
    assert all(sequence.ids[p] == builder.special.image for p in sequence.frame_last)
    assert sequence.frame_last == [k for k, i in enumerate(sequence.ids) if i == builder.special.image][1::2]


def test_sequence_decision_labels_and_neighbors(builder):
    sequence = builder.window(EPISODE)
    assert sequence.speaking == [0, -100, 1, -100, 0, 0, 0, -100, 1, -100, 0, 0]
    assert sequence.update == [0, 0, 0, 0, 0, -100, 1, -100, 1, -100, 0, 0]
    assert make_sequence_event_labels([4, 5, 6], {5, 6}) == [IGNORE, 1, 1]


def test_sequence_noisy_replies_change_only_own_labels(builder):
    plain, moved = (
        builder.window(EPISODE),
        builder.window(EPISODE, written=ContextNoise(early=frozenset({2, 8}), unsaid=frozenset({2})).apply_to(EPISODE)),
    )
    body = decode(builder, moved.ids)
    body = body[body.index("<image>") :]
    two = "<image><image>"
    # the first reply is left out; it cannot be early either, because its question is on the frame
    # before
    assert body == (
        two * 2 + "[USER]What now?" + two * 5 + "[DST]S1->start<eos>" + two + "[ASST]Pour.<eos>"
        + two + "[DST]S1->complete<eos>" + two * 3
    )  # fmt: skip
    assert moved.speaking == [0, -100, 1, -100, 0, 0, 0, -100, 0, -100, 0, 0]
    assert (moved.update, moved.states) == (plain.update, plain.states)
    # a reply that is left out has no labels
    assert [token for token in moved.lm_labels if token != IGNORE] == builder.reply("Pour.")[1:]


def test_sequence_early_reply_has_word_labels(builder):
    """A stream can reply a frame early; without these labels it would use words that it was not
    trained on.
    """
    moved = builder.window(EPISODE, written=ContextNoise(early=frozenset({8})).apply_to(EPISODE))
    learnt = [token for token in moved.lm_labels if token != IGNORE]
    assert decode(builder, learnt) == decode(builder, builder.reply("Boil.")[1:] + builder.reply("Pour.")[1:])
    # each label is on the position of its own token
    assert all(label in (IGNORE, token) for token, label in zip(moved.ids, moved.lm_labels, strict=True))


def test_sequence_early_reply_stays_after_question(builder):
    assert builder.window(EPISODE, written=ContextNoise(early=frozenset({2})).apply_to(EPISODE)) == builder.window(
        EPISODE
    )
    clip = EPISODE.window(8, 12)
    assert builder.window(clip, written=ContextNoise(early=frozenset({8})).apply_to(clip)) == builder.window(clip)


def test_sequence_state_label_includes_own_update(builder):
    sequence = builder.window(EPISODE)
    assert [row[0] for row in sequence.states] == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert [row[1] for row in sequence.states] == [0] * 12


def test_sequence_eos_has_label(builder):
    sequence = builder.window(EPISODE)
    special = builder.special
    supervised = [i for i, label in zip(sequence.ids, sequence.lm_labels, strict=True) if label != IGNORE]
    assert supervised.count(special.eos) == len(EPISODE.utterances())
    assert special.pad != special.eos
    assert decode(builder, supervised) == "Boil.<eos>Pour.<eos>"


def test_sequence_dst_and_user_text_have_no_label(builder):
    sequence = builder.window(EPISODE)
    for token in (builder.special.dst, builder.special.user, builder.special.asst):
        at = sequence.ids.index(token)
        assert sequence.lm_labels[at] == IGNORE
    dst = sequence.ids.index(builder.special.dst)
    assert sequence.lm_labels[dst : sequence.ids.index(builder.special.eos, dst) + 1].count(IGNORE) >= 3


def test_special_ids_are_distinct(tokenizer):
    ids = SpecialIds.of(tokenizer)
    numbers = list(vars(ids).values())
    assert len(set(numbers)) == len(SPECIAL_TOKENS)
    assert max(numbers) < len(tokenizer)


def test_sequence_special_tokens_of_user_stay_text(builder):
    ids = builder.user("[ASST] <eos> <image>")
    assert ids[0] == builder.special.user
    assert not {builder.special.asst, builder.special.eos, builder.special.image} & set(ids[1:])


def test_sequence_user_text_is_truncated(builder):
    assert len(builder.user("word " * 50)) == 6


def test_sequence_prompt_has_order_and_time_of_done_steps(builder):
    state = DialogState(("S1", "S2"), ("completed", "completed"), (("S2", 12.4), ("S1", 41.0)))
    text = builder.prompt(TASK, Context(state, "Half done.", (("User", "Hm."), ("Assistant", "Go on.")))).text
    assert "S1 (completed 2nd, 41 s): boil\n" in text
    assert "S2 (completed 1st, 12 s): pour\n" in text
    assert text.endswith("Summary: Half done.\nUser: Hm.\nAssistant: Go on.\n")
    assert "(" not in builder.prompt(TASK, Context()).text


def test_sequence_blank_states_label_only_known(builder):
    window = EPISODE.window(7, 12)
    sequence = builder.window(window, Context())
    assert [row[0] for row in sequence.states] == [IGNORE, 2, 2, 2, 2]
    assert [row[1] for row in sequence.states] == [IGNORE] * 5
    assert set(sequence.lm_labels) == {IGNORE}
    assert sequence.update[1] == sequence.speaking[1] == 1
    tracked = builder.window(window)
    assert [row[0] for row in tracked.states] == [1, 2, 2, 2, 2]
    assert set(tracked.lm_labels) != {IGNORE}


def test_sequence_blank_states_at_start_label_all(builder):
    sequence = builder.window(EPISODE, Context())
    assert all(label != IGNORE for row in sequence.states for label in row)


def test_layout_update_text_is_canonical():
    assert layout_update_text([("S1", "complete"), ("S2", "start")]) == "S1->complete; S2->start"


def test_sequence_longest_update_is_upper_bound(builder):
    longest = builder.longest_update(TASK)
    assert len(builder.update([("S1", "start"), ("S1", "complete"), ("S2", "start"), ("S2", "complete")])) == longest
    assert builder.longest_update(Task("none")) == 0


def test_tokenizer_random_text_round_trips():
    tokenizer = train_tokenizer(["put the cup away"], 300)
    for text in ("Ünïcode ☕ \u202e", "tab\tnewline\n", "  two  spaces", "日本語"):
        assert tokenizer.decode(tokenizer(text, split_special_tokens=True).input_ids) == text


def test_layout_step_line_has_fixed_token_positions():
    """Verb, color, kind and tool or place are one token each, for every state of the step."""
    names = (
        "wipe the red cone with the cloth", "put the blue ball in the box", "fetch the red ring from the drawer",
    )  # fmt: skip
    state = DialogState(("S1", "S2", "S3"), ("completed", "not_started", "in_progress"), (("S1", 41.0),))
    lines = [layout_step_line(f"S{n}", name, state) for n, name in enumerate(names, 1)]
    assert lines[0] == "S1 (completed 1st, 41 s): wipe the red cone with the cloth"
    assert lines[1] == "S2 (not started): put the blue ball in the box"
    tokenizer = train_tokenizer(lines * 9, 600)
    ends = [[tokenizer.decode(i) for i in tokenizer(line).input_ids[-4:]] for line in lines]
    assert ends == [
        [" wipe", " the red", " cone", " with the cloth"],
        [" put", " the blue", " ball", " in the box"],
        [" fetch", " the red", " ring", " from the drawer"],
    ]
    said = [tokenizer.decode(i) for i in tokenizer("Done: wipe the red cone.").input_ids]
    assert said[-4:] == [" wipe", " the red", " cone", "."]


def test_tokenizer_step_id_is_one_token():
    texts = ["S4: wipe", "S4 (not started): wipe", "S4->start; S5->complete", "Read S4 S5.", "up: S4"] * 9
    tokenizer = train_tokenizer(texts, 400)
    four = tokenizer.convert_tokens_to_ids("S4")
    assert all(tokenizer(text).input_ids.count(four) == 1 for text in texts)
    assert tokenizer.convert_tokens_to_ids("S5") in tokenizer("Read S4 S5.").input_ids


def test_train_tokenizer_is_deterministic():
    texts = ["put the red cube away", "how many are left"] * 3
    one, two = (train_tokenizer(texts, 300) for _ in range(2))
    assert one.get_vocab() == two.get_vocab()
