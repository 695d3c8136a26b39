"""References with several accepted wordings, compared with sacreBLEU and by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from prospect_core.timeline import MOST_WORDINGS, Episode, Event, Utterance
from prospect_core.util.json_io import dump_json, load_json
from prospect_eval.metrics.scored import best_scored_wording_similarity
from prospect_eval.metrics.text import bleu_stats, bleu_value, chrf_stats, chrf_value
from prospect_eval.scoring.score import score_records
from prospect_eval.text.cider import CiderIdf
from tests.helpers.predictions import TOOLS, WORDS, episode, predict, same_words, say, score

TEXTS = st.one_of(WORDS, st.text(alphabet="ab cdé.,!", min_size=1, max_size=12).filter(str.strip))
ROWS = st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=6)


def turn(time, text, *others):
    return replace(say(time, text), alternatives=others)


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_bleu_two_wordings_equals_sacrebleu(rows):
    hypotheses, first, second = map(list, zip(*rows, strict=True))
    expected = sacrebleu.corpus_bleu(hypotheses, [first, second], use_effective_order=True).score
    got = bleu_value(sum(bleu_stats([h], [(a, b)]) for h, a, b in rows))
    assert float(got) == pytest.approx(expected, abs=1e-9)


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_chrf_two_wordings_equals_sacrebleu(rows):
    hypotheses, first, second = map(list, zip(*rows, strict=True))
    expected = sacrebleu.corpus_chrf(hypotheses, [first, second]).score
    got = chrf_value(sum(chrf_stats([h], [(a, b)]) for h, a, b in rows))
    assert float(got) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_text_stats_one_wording_equals_one_reference(rows):
    for hypothesis, reference in rows:
        assert bleu_stats([hypothesis], [(reference,)]).tolist() == bleu_stats([hypothesis], [reference]).tolist()
        assert (
            chrf_stats([hypothesis], [(reference, reference)]).tolist()
            == chrf_stats([hypothesis], [reference]).tolist()
        )


def test_bleu_stats_two_wordings_by_hand():
    # `the` occurs twice in the first wording: two hits; only the second one has `cup`
    got = bleu_stats(["the the the cup"], [("the red the", "a cup and one more word now")])
    assert got[0] == 3
    # lengths 3 and 7: 3 is closer to 4
    assert got[9] == 3
    # the shorter one in a tie
    assert bleu_stats(["a b c"], [("a b c d", "a b")])[9] == 2


def test_cider_wordings_are_averaged_as_one_document():
    pair = ("put the cup away", "put it away")
    idf = CiderIdf([pair, "stop now", "go on now please"])
    expected = np.mean([idf.score("put the cup away", text) for text in pair])
    assert idf.score_of_wordings("put the cup away", pair) == pytest.approx(expected)
    assert idf.documents == 3
    # in both wordings of one turn: one document
    assert idf.frequency["put",] == 1
    assert idf.frequency["now",] == 2


def test_meteor_takes_best_wording():
    reference = episode(
        turn(5.0, "put the cup away now", "put the cup away"), turn(15.0, "stop it now", "well stop it now")
    )
    records = [predict(reference, [(10, "put the cup away"), (30, "stop it now please")])]
    # `equal` is 1 for equal texts: the first pair by its second wording, the second pair by none
    assert score(*records, name="meteor") == 0.5


def test_matching_uses_best_wording():
    reference = episode(turn(5.0, "put the cup away", "stow the mug"))
    got = score(predict(reference, [(10, "stow the mug")]))
    assert got["matched_f1"]["value"] == 1.0
    assert got["similarity"]["value"] == 1.0
    assert got["utility@c=1"]["value"] > 0
    assert got["estp_f1_surrogate"]["value"] == 1.0
    assert score(predict(episode(say(5.0, "put the cup away")), [(10, "stow the mug")]))["matched_f1"]["value"] == 0.0


@given(
    st.lists(st.lists(WORDS, min_size=1, max_size=3), min_size=1, max_size=4), st.lists(WORDS, min_size=1, max_size=4)
)
@settings(max_examples=100, deadline=None)
def test_best_wording_similarity_is_largest_cosine(references, said):
    wordings = [tuple(each) for each in references]
    got = best_scored_wording_similarity(same_words, wordings)(said, [each[0] for each in wordings])
    expected = [[max(same_words([text], list(each))[0]) for each in wordings] for text in said]
    np.testing.assert_allclose(got, expected)


def test_text_signatures_have_nrefs_var():
    single = score(predict(episode(say(5.0, "stop")), [(10, "stop")]))
    several = score_records([predict(episode(turn(5.0, "stop", "halt")), [(10, "halt")])], TOOLS)
    assert "bleu:nrefs:1,case" in single["bleu"]["signature"]
    for table in (several["metrics"], several["baselines"]["oracle"], several["splits"]["turn"]["proactive"]):
        assert "bleu:nrefs:var,case" in table["bleu"]["signature"]
        assert "chrf:nrefs:var,case" in table["chrf"]["signature"]


def test_utterance_turns_on_one_frame_combine_wordings():
    reference = episode(turn(5.0, "stop", "halt"), replace(say(5.1, "now"), alternatives=("at once",)))
    (joined,) = reference.utterances()
    assert joined.text == "stop now"
    assert joined.wordings == ("stop now", "stop at once", "halt now", "halt at once")


def test_utterance_combined_wordings_are_limited():
    many = tuple(turn(5.0, f"t{k}", *(f"t{k}{j}" for j in range(9))) for k in range(4))
    utterance = Utterance(10, "t0 t1 t2 t3", ("a",), False, many)
    assert len(utterance.wordings) == MOST_WORDINGS
    assert utterance.wordings[0] == "t0 t1 t2 t3"


def test_episode_alternatives_round_trip():
    reference = episode(turn(5.0, "stop", "halt", "wait"))
    assert load_json(Episode, dump_json(reference), "here") == reference
    assert json.loads(dump_json(reference))["events"][0]["alternatives"] == ["halt", "wait"]
    assert "alternatives" not in dump_json(episode(say(5.0)))
    assert reference.window(2, 20).utterances()[0].wordings == ("stop", "halt", "wait")


def test_episode_invalid_alternatives_raise():
    user = Event("u", 5.0, "user", "what?", alternatives=("huh?",))
    assert "only assistant turns" in replace(episode(), events=(user,)).problems()[0]
    blank = turn(5.0, "stop", " ")
    assert "an alternative without text" in replace(episode(), events=(blank,)).problems()[0]


def test_proassist_row_alternatives_round_trip():
    from prospect_core.data.formats.proassist import episode_from_proassist_row, episode_to_proassist_row

    reference = replace(episode(turn(5.0, "stop", "halt"), frames=40), file_order=False)
    row = json.loads(json.dumps(episode_to_proassist_row(reference)))
    assert episode_from_proassist_row(row).utterances()[0].wordings == ("stop", "halt")
