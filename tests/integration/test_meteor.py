"""METEOR with the packaged synonyms against NLTK's METEOR with its own reader of WordNet's database."""

from __future__ import annotations

import gzip
import random
import re

import pytest

from benchmarks.recipes.wordnet_synonyms import license_notice, make_synonym_table
from prospect_core.util.errors import UserError
from prospect_core.workbench.dialogue import phrases
from prospect_eval.metrics.resources import open_meteor_resource
from prospect_eval.text.wordnet import LICENSE, TABLE
from tests.helpers.wordnet_database import SYSTEM_FOLDER, has_wordnet_database, nltk_wordnet

pytestmark = pytest.mark.slow

needs_database = pytest.mark.skipif(
    not has_wordnet_database(), reason="the Debian package wordnet-base is not installed"
)
PAIRS = 10_000
#: most words with these endings do not exist, and METEOR has to treat them as NLTK does
ENDINGS = ("",) * 8 + ("s", "es", "ed", "d", "ing", "er", "est", "r", "ies", "ves", "men")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    with nltk_wordnet(tmp_path_factory.mktemp("nltk")) as opened:
        yield opened


class SentencePairs:
    """Random sentences of the workbench's and the dictionary's words, and variants of them.

    A variant replaces words by synonyms, inflected forms and other words, drops some and moves some.
    """

    def __init__(self, reader, seed):
        self.reader = reader
        self.random = random.Random(seed)
        texts = [text for group in phrases.PHRASES.values() for wordings in group for text in wordings]
        self.phrases = [re.findall(r"\w+", text) for text in texts]
        dictionary = sorted(name for name in reader.all_lemma_names() if name.isalpha())
        irregular = sorted(form for forms in reader._exception_map.values() for form in forms if form.isalpha())
        self.sources = [[word for words in self.phrases for word in words], dictionary, irregular]

    def word(self):
        word = self.random.choice(self.random.choice(self.sources))
        return word + self.random.choice(ENDINGS)

    def synonym(self, word):
        names = [name for synset in self.reader.synsets(word) for name in synset.lemma_names() if "_" not in name]
        return self.random.choice(sorted(names)) if names else word

    def variant(self, word):
        chance = self.random.random()
        if chance < 0.4:
            return self.synonym(word)
        if chance < 0.6:
            return word + self.random.choice(ENDINGS)
        return word if chance < 0.8 else self.word()

    def pair(self):
        reference = [*self.random.choice(self.phrases), *(self.word() for _ in range(self.random.randint(1, 6)))]
        hypothesis = [self.variant(word) for word in reference if self.random.random() < 0.9]
        if self.random.random() < 0.5:
            self.random.shuffle(hypothesis)
        return " ".join(hypothesis) + ".", " ".join(reference) + "."


class NoSynonyms:
    @staticmethod
    def synsets(word):
        return []


@needs_database
def test_meteor_random_pairs_equal_nltk_with_wordnet(reader):
    from nltk.translate.meteor_score import single_meteor_score

    pairs, meteor = SentencePairs(reader, seed=1), open_meteor_resource()
    with_synonyms = 0
    for _ in range(PAIRS):
        hypothesis, reference = pairs.pair()
        tokens = [re.findall(r"\w+|[^\w\s]", text.lower()) for text in (reference, hypothesis)]
        expected = single_meteor_score(*tokens, wordnet=reader)
        assert meteor(hypothesis, reference) == pytest.approx(expected, abs=1e-12, rel=0), (hypothesis, reference)
        with_synonyms += expected != single_meteor_score(*tokens, wordnet=NoSynonyms())
    # the score depends on synonyms in many of them
    assert with_synonyms > PAIRS / 4


@needs_database
def test_wordnet_table_and_license_equal_database():
    assert gzip.decompress(TABLE.read_bytes()).decode("ascii") == make_synonym_table(SYSTEM_FOLDER)
    assert LICENSE.read_text("ascii") == license_notice(SYSTEM_FOLDER)


def test_wordnet_recipe_folder_without_wordnet_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"data\.noun is missing; give a folder"):
        make_synonym_table(tmp_path)


def test_wordnet_recipe_other_version_is_refused(tmp_path):
    (tmp_path / "data.noun").write_text("  1 WordNet 3.1 Copyright 2011\n", "ascii")
    with pytest.raises(UserError, match=r"holds no WordNet 3\.0"):
        license_notice(tmp_path)
