"""Accuracy of answers, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prospect_core.timeline import Event
from prospect_eval.metrics.corpus import Corpus
from prospect_eval.scoring.score import score_records
from tests.helpers.predictions import TOOLS, episode, predict, say


def ask(time, accepted, kind="past"):
    """A question of the user with its accepted values."""
    return Event(f"u{time}", time, "user", "Well?", question=kind, accepted=tuple(accepted))


def accuracy(reference, said, kind="past", others=()):
    """Return the answer accuracy of one prediction, in a split with further episodes."""
    corpus = Corpus.of([reference, *others])
    table = score_records([predict(reference, said)], replace(TOOLS, corpus=corpus))["metrics"]
    return table[f"answer_accuracy@{kind}"]["value"]


ONE = episode(ask(5.0, ["cup"]), say(5.5, "First the cup."), frames=80)
OTHERS = [
    episode(ask(5.0, [value]), say(5.5, f"The {value}."), id_=value)
    for value in ("bowl", "red cup", "yes", "no", "jug")
]


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("The CUP came first.", 1.0),
        ("The cup, the bowl and the jug.", 0.0),
        ("yes no cup bowl red cup jug", 0.0),
        ("The bowl.", 0.0),
        ("The red cup.", 0.0),
        ("The cup, and I do not know the saucer.", 1.0),
        ("", 0.0),
    ],
)
def test_answer_accuracy_other_value_of_kind_is_wrong(reply, value):
    assert accuracy(ONE, [(11, reply)] if reply else [], others=OTHERS) == value


def test_answer_accuracy_values_of_other_kind_are_ignored():
    count = episode(ask(5.0, ["two"], "remainder"), say(5.5, "Two."), id_="count")
    assert accuracy(ONE, [(11, "The cup, and two are left.")], others=[count]) == 1.0


def test_answer_accuracy_several_accepted_values_is_correct():
    both = episode(ask(5.0, ["two", "2"]), say(5.5, "Two left."))
    assert accuracy(both, [(11, "Two (2) left.")], others=OTHERS) == 1.0


def test_answer_accuracy_longer_value_excludes_shorter():
    red = episode(ask(5.0, ["red cup"]), say(5.5, "The red cup."))
    assert accuracy(red, [(11, "The red cup.")], others=[ONE]) == 1.0


def test_answer_accuracy_reference_values_are_allowed():
    polar = episode(ask(5.0, ["yes"]), say(5.5, "Yes, the cup is in the bowl."))
    assert accuracy(polar, [(11, "Yes, the cup is in the bowl.")], others=[ONE, *OTHERS]) == 1.0
    assert accuracy(polar, [(11, "Yes, the cup is in.")], others=[ONE, *OTHERS]) == 1.0
    assert accuracy(polar, [(11, "Yes, the jug is in.")], others=[ONE, *OTHERS]) == 0.0


TWO = episode(ask(5.0, ["yes"]), say(5.5, "Yes."), ask(6.0, ["two"], "remainder"), say(6.5, "Two are left."), frames=80)


def test_answer_accuracy_reply_serves_last_question():
    said = [(14, "Yes, and two are left.")]
    assert accuracy(TWO, said) == 0.0
    assert accuracy(TWO, said, "remainder") == 1.0


def test_answer_accuracy_each_question_has_own_reply():
    said = [(11, "Yes."), (13, "Two are left.")]
    assert accuracy(TWO, said) == 1.0
    assert accuracy(TWO, said, "remainder") == 1.0


def test_answer_accuracy_signature_has_digest_of_values():
    corpus = Corpus.of([ONE, *OTHERS])
    table = score_records([predict(ONE)], replace(TOOLS, corpus=corpus))["metrics"]
    assert f"|values:{corpus.answers_digest}|" in table["answer_accuracy@past"]["signature"]
    assert corpus.answers == {"past": ("bowl", "cup", "jug", "no", "red cup", "yes")}
