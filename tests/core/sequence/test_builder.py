"""The one builder: layout, labels, and what carries loss."""

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


def test_layout_by_hand(builder):
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


def test_decision_labels_and_their_neighbours(builder):
    sequence = builder.window(EPISODE)
    assert sequence.speaking == [0, -100, 1, -100, 0, 0, 0, -100, 1, -100, 0, 0]
    assert sequence.update == [0, 0, 0, 0, 0, -100, 1, -100, 1, -100, 0, 0]
    assert make_sequence_event_labels([4, 5, 6], {5, 6}) == [IGNORE, 1, 1]


def test_replies_a_frame_early_or_unsaid_change_the_context_and_no_decision_but_their_own(builder):
    plain, moved = (
        builder.window(EPISODE),
        builder.window(EPISODE, written=ContextNoise(early=frozenset({2, 8}), unsaid=frozenset({2})).apply_to(EPISODE)),
    )
    body = decode(builder, moved.ids)
    body = body[body.index("<image>") :]
    two = "<image><image>"
    # the first is unsaid; it could not be early either: it answers the question of the frame before
    assert body == (
        two * 2 + "[USER]What now?" + two * 5 + "[DST]S1->start<eos>" + two + "[ASST]Pour.<eos>"
        + two + "[DST]S1->complete<eos>" + two * 3
    )  # fmt: skip
    assert moved.speaking == [0, -100, 1, -100, 0, 0, 0, -100, 0, -100, 0, 0]
    assert (moved.update, moved.states) == (plain.update, plain.states)
    # what is not said is not learnt
    assert [token for token in moved.lm_labels if token != IGNORE] == builder.reply("Pour.")[1:]


def test_the_words_of_a_reply_a_frame_too_soon_are_learnt(builder):
    """A stream says what it says a frame too soon in words that it was never taught there, and then believes them."""
    moved = builder.window(EPISODE, written=ContextNoise(early=frozenset({8})).apply_to(EPISODE))
    learnt = [token for token in moved.lm_labels if token != IGNORE]
    assert decode(builder, learnt) == decode(builder, builder.reply("Boil.")[1:] + builder.reply("Pour.")[1:])
    # each is foretold right where it is said
    assert all(label in (IGNORE, token) for token, label in zip(moved.ids, moved.lm_labels, strict=True))


def test_a_reply_never_comes_before_its_question_nor_before_the_window(builder):
    assert builder.window(EPISODE, written=ContextNoise(early=frozenset({2})).apply_to(EPISODE)) == builder.window(
        EPISODE
    )
    clip = EPISODE.window(8, 12)
    assert builder.window(clip, written=ContextNoise(early=frozenset({8})).apply_to(clip)) == builder.window(clip)


def test_state_label_of_a_frame_includes_its_own_update(builder):
    sequence = builder.window(EPISODE)
    assert [row[0] for row in sequence.states] == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert [row[1] for row in sequence.states] == [0] * 12


def test_eos_of_every_answer_carries_loss(builder):
    sequence = builder.window(EPISODE)
    special = builder.special
    supervised = [i for i, label in zip(sequence.ids, sequence.lm_labels, strict=True) if label != IGNORE]
    assert supervised.count(special.eos) == len(EPISODE.utterances())
    assert special.pad != special.eos
    assert decode(builder, supervised) == "Boil.<eos>Pour.<eos>"


def test_dst_text_and_user_text_carry_no_loss(builder):
    sequence = builder.window(EPISODE)
    for token in (builder.special.dst, builder.special.user, builder.special.asst):
        at = sequence.ids.index(token)
        assert sequence.lm_labels[at] == IGNORE
    dst = sequence.ids.index(builder.special.dst)
    assert sequence.lm_labels[dst : sequence.ids.index(builder.special.eos, dst) + 1].count(IGNORE) >= 3


def test_every_special_token_has_its_own_id_and_none_is_clamped(tokenizer):
    ids = SpecialIds.of(tokenizer)
    numbers = list(vars(ids).values())
    assert len(set(numbers)) == len(SPECIAL_TOKENS)
    assert max(numbers) < len(tokenizer)


def test_special_tokens_written_by_a_user_stay_text(builder):
    ids = builder.user("[ASST] <eos> <image>")
    assert ids[0] == builder.special.user
    assert not {builder.special.asst, builder.special.eos, builder.special.image} & set(ids[1:])


def test_user_text_is_cut_to_its_limit(builder):
    assert len(builder.user("word " * 50)) == 6


def test_prompt_tells_order_and_time_of_what_is_done(builder):
    state = DialogState(("S1", "S2"), ("completed", "completed"), (("S2", 12.4), ("S1", 41.0)))
    text = builder.prompt(TASK, Context(state, "Half done.", (("User", "Hm."), ("Assistant", "Go on.")))).text
    assert "S1 (completed 2nd, 41 s): boil\n" in text
    assert "S2 (completed 1st, 12 s): pour\n" in text
    assert text.endswith("Summary: Half done.\nUser: Hm.\nAssistant: Go on.\n")
    assert "(" not in builder.prompt(TASK, Context()).text


def test_a_window_with_blank_states_supervises_only_what_can_be_known(builder):
    window = EPISODE.window(7, 12)
    sequence = builder.window(window, Context())
    assert [row[0] for row in sequence.states] == [IGNORE, 2, 2, 2, 2]
    assert [row[1] for row in sequence.states] == [IGNORE] * 5
    assert set(sequence.lm_labels) == {IGNORE}
    assert sequence.update[1] == sequence.speaking[1] == 1
    tracked = builder.window(window)
    assert [row[0] for row in tracked.states] == [1, 2, 2, 2, 2]
    assert set(tracked.lm_labels) != {IGNORE}


def test_blank_states_at_the_beginning_hide_nothing(builder):
    sequence = builder.window(EPISODE, Context())
    assert all(label != IGNORE for row in sequence.states for label in row)


def test_update_text_is_canonical():
    assert layout_update_text([("S1", "complete"), ("S2", "start")]) == "S1->complete; S2->start"


def test_longest_update_bounds_every_update(builder):
    longest = builder.longest_update(TASK)
    assert len(builder.update([("S1", "start"), ("S1", "complete"), ("S2", "start"), ("S2", "complete")])) == longest
    assert builder.longest_update(Task("none")) == 0


def test_any_text_survives_the_tokenizer():
    tokenizer = train_tokenizer(["put the cup away"], 300)
    for text in ("Ünïcode ☕ \u202e", "tab\tnewline\n", "  two  spaces", "日本語"):
        assert tokenizer.decode(tokenizer(text, split_special_tokens=True).input_ids) == text


def test_what_a_line_says_lies_as_far_before_its_marker_on_every_line():
    """Verb, colour, kind and tool or place are a token each, whatever is said of the step's state."""
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


def test_a_steps_id_is_the_same_token_wherever_it_stands():
    texts = ["S4: wipe", "S4 (not started): wipe", "S4->start; S5->complete", "Read S4 S5.", "up: S4"] * 9
    tokenizer = train_tokenizer(texts, 400)
    four = tokenizer.convert_tokens_to_ids("S4")
    assert all(tokenizer(text).input_ids.count(four) == 1 for text in texts)
    assert tokenizer.convert_tokens_to_ids("S5") in tokenizer("Read S4 S5.").input_ids


def test_the_same_texts_give_the_same_tokenizer():
    texts = ["put the red cube away", "how many are left"] * 3
    one, two = (train_tokenizer(texts, 300) for _ in range(2))
    assert one.get_vocab() == two.get_vocab()
