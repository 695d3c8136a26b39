"""The packaged synonyms of WordNet, and METEOR with them."""

from __future__ import annotations

import gzip

import pytest

from prospect_eval.metrics.resources import open_meteor_resource
from prospect_eval.text import wordnet
from prospect_eval.text.wordnet import LICENSE, TABLE, WordNetSynonyms, load_wordnet_synonyms

SMALL = WordNetSynonyms(
    "# a comment\nn car auto railway_car\nn goose\nn Paris capital\nv run Race\na fast quick\nn= geese goose\nv= ran run\n"
)


def names(synonyms, word):
    return {lemma.name() for synset in synonyms.synsets(word) for lemma in synset.lemmas()}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("car", {"car", "auto", "railway_car"}),
        ("CARS", {"car", "auto", "railway_car"}),
        ("railway_car", {"car", "auto", "railway_car"}),
        ("geese", {"goose"}),
        ("paris", {"Paris", "capital"}),
        ("races", {"run", "Race"}),
        ("racing", {"run", "Race"}),
        ("raced", {"run", "Race"}),
        ("ran", {"run", "Race"}),
        ("faster", {"fast", "quick"}),
        ("fastest", {"fast", "quick"}),
        # a rule of another part of speech does not apply
        ("caring", set()),
        ("unknown", set()),
    ],
)
def test_wordnet_synsets_of_word_and_base_forms(word, expected):
    assert names(SMALL, word) == expected


@pytest.mark.parametrize(
    ("word", "some"),
    [
        ("car", {"auto", "automobile", "railcar"}),
        ("geese", {"goose", "fathead"}),
        ("wiped", {"wipe"}),
        ("knives", {"knife"}),
        ("went", {"go", "travel"}),
        ("better", {"good", "well", "improve"}),
    ],
)
def test_wordnet_table_has_synonyms_of_inflected_words(word, some):
    assert some <= names(load_wordnet_synonyms(), word)


def test_wordnet_table_is_small_and_has_version():
    assert TABLE.stat().st_size < 3_000_000
    assert f"WordNet {wordnet.VERSION} Copyright" in gzip.decompress(TABLE.read_bytes()).decode("ascii")


def test_wordnet_license_is_next_to_table_and_in_it():
    notice = [f"# {line}".rstrip() for line in LICENSE.read_text("ascii").splitlines()]
    assert gzip.decompress(TABLE.read_bytes()).decode("ascii").splitlines()[: len(notice)] == notice


#: pairs and their METEOR by nltk 3.10.4 with the WordNet 3.0 of Debian's package wordnet-base
BY_NLTK = [
    ("take the auto", "take the car", 0.9814814814814815),
    ("the geese went", "a goose goes", 0.0),
    ("wiped the red cups", "wipe the crimson cup", 0.9921875),
    ("begin with this", "start with this", 0.9814814814814815),
    ("the larger knives", "the big knife", 0.625),
    ("put it away now", "put it away", 0.9498207885304659),
    ("stirring quickly", "stir fast", 0.25),
    ("He ran home.", "He runs house.", 0.6388888888888888),
    ("better leaves", "good leaf", 0.25),
    ("fill the mug", "fill the cup", 0.625),
    ("discard the rubbish", "throw the trash", 0.625),
    ("shut the door, please", "close the door please", 0.9146341463414633),
    ("no match whatsoever", "something different", 0.0),
    ("two men", "two adult males", 0.17241379310344826),
    ("the kids are happiest", "the children are happy", 0.25),
    ("Paris", "French capital", 0.0),
    ("ice_cream", "icecream", 0.5),
    ("buy three lorries", "purchase three trucks", 0.16666666666666666),
    ("xxxing", "xxx", 0.0),
    ("cut the onion in small pieces", "chop the onion into little pieces", 0.42592592592592593),
    ("It is done.", "It is finished.", 0.6388888888888888),
    ("Now wash the pan.", "Next, clean the pan.", 0.4990583804143125),
]


@pytest.mark.parametrize(("hypothesis", "reference", "expected"), BY_NLTK)
def test_meteor_equals_nltk_with_wordnet(hypothesis, reference, expected):
    assert open_meteor_resource()(hypothesis, reference) == pytest.approx(expected, abs=1e-12)
