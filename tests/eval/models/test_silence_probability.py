"""Probability of silence from log-probabilities, with values computed by hand."""

from __future__ import annotations

import math

import pytest

from prospect_eval.models.silence_probability import TokenChoice, silence_probability


def choice(token, probability, **others):
    likely = {token: probability, **{name.replace("_", " "): p for name, p in others.items()}}
    return TokenChoice(token, {name: math.log(p) for name, p in likely.items()})


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        # the word is one token
        ([choice("SILENT", 0.9, Take=0.06)], 0.9),
        ([choice("Take", 0.7, SILENT=0.25)], 0.25),
        # its spellings add up
        ([choice("Take", 0.5, SILENT=0.2, Silent=0.1, _SILENT=0.05)], 0.35),
        # the word is three tokens: the product of those of the reply
        ([choice("S", 0.9, Take=0.1), choice("IL", 0.8, tep=0.1), choice("ENT", 0.5)], 0.36),
        # the reply leaves the word at its second token, as S1->start does
        ([choice("S", 0.9), choice("1", 0.7, IL=0.2)], 0.18),
        # another token that only begins the word counts as silence
        ([choice("Take", 0.6, SIL=0.3, Slow=0.05)], 0.3),
        # an immediate end is silence
        ([choice("<|im_end|>", 0.6, Take=0.3)], 0.6),
        ([choice("Take", 0.6, **{"</s>": 0.2})], 0.2),
        # blanks and quotation marks of the reply are passed
        ([choice(" ", 0.5), choice("SILENT", 0.8)], 0.4),
        ([choice('"', 0.5, SILENT=0.1), choice("SILENT", 0.8)], 0.5),
        # a longer word is not silence
        ([choice("SILENTLY", 0.9)], 0.0),
        ([choice("SILENT.", 0.9)], 0.9),
        ([choice("Take", 1.0)], 0.0),
    ],
)
def test_silence_probability_sums_silent_paths(choices, expected):
    assert silence_probability(choices, "SILENT") == pytest.approx(expected)


def test_silence_probability_without_tokens_is_unknown():
    assert silence_probability([], "SILENT") is None


def test_silence_probability_rounding_stays_below_one():
    assert silence_probability([choice("SILENT", 1.0, Silent=0.01)], "SILENT") == 1.0
