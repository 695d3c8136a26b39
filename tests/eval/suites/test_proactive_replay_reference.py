"""Published cases as records of EgoProactive, OmniMMI and ProactiveVideoQA: the official numbers stay the same.

All items of the published annotations become episodes, and the oracle reaches the stated values.
"""

from __future__ import annotations

from functools import cache

import pytest

from prospect_core.records import ReplayProtocol
from prospect_eval.suites.benchmark import open_benchmark
from prospect_eval.suites.egoproactive.annotations import make_egoproactive_annotations
from prospect_eval.suites.egoproactive.records import score_egoproactive_records
from prospect_eval.suites.omnimmi.records import score_omnimmi_records
from prospect_eval.suites.omnimmi.scores import score_omnimmi
from prospect_eval.suites.proactivevideoqa.annotations import make_proactivevideoqa_annotations
from prospect_eval.suites.proactivevideoqa.records import score_proactivevideoqa_records
from prospect_eval.suites.result_rows import ResultRow
from prospect_eval.suites.suite import open_suite
from tests.helpers.field_cases import assert_equal_values, find_field_file, read_field_file
from tests.helpers.replayed_benchmarks import (
    KnownLengths,
    answering_record,
    assert_sound,
    oracle_records,
    speaking_record,
)

pytestmark = pytest.mark.integration
EGO, OMNIMMI, VIDEOQA = "egoproactive", "omnimmi", "proactivevideoqa"
#: seconds of a chunk of the cases whose gold is known by its answers alone
CHUNK_S = 8
#: at this frame rate the frame of an utterance has exactly the time of the published reply
FPS = 100


def rows(values):
    return [ResultRow(f"row {number}", value) for number, value in enumerate(values)]


def make_episodes(name, annotations, protocol, fps=None, lengths=None):
    known = KnownLengths(fps or open_suite(name).fps, lengths or {})
    made = open_benchmark(name).replay.make_episodes(annotations, protocol, known)
    assert_sound(made.episodes)
    return made


@pytest.mark.parametrize("protocol", open_suite(EGO).protocols)
def test_published_session_of_egoproactive_is_perfect_with_its_own_answers(protocol):
    annotations = make_egoproactive_annotations(rows([read_field_file(EGO, "gold_row.json")]))
    rules = open_suite(EGO).protocols[protocol]
    made = make_episodes(EGO, annotations, rules)
    score = score_egoproactive_records(annotations, oracle_records(made.episodes, rules))
    assert (made.refused, score.values["macro_f1"], score.values["gmean_f1"]) == ({}, 1.0, 1.0)


def read_chunk_texts(row):
    """The answers of a prediction row; None where a record cannot hold them."""
    answers = row.get("answers") if isinstance(row, dict) else None
    return answers if isinstance(answers, list) and all(isinstance(answer, str) for answer in answers) else None


def test_egoproactive_records_of_handed_cases_have_their_official_values():
    """Cases with a text for each chunk of each session; intervals and queries do not enter the score."""
    protocol = open_suite(EGO).protocols["official"]
    checked = 0
    for case in read_field_file(EGO, "cases.json")["cases"]:
        texts = [read_chunk_texts(row) for row in case["predictions"]]
        gold = [read_chunk_texts(row) for row in case["gold"]]
        if None in texts or None in gold or [*map(len, texts)] != [*map(len, gold)] or not all(gold):
            continue
        sessions = [ask_in_chunks(row, number) for number, row in enumerate(case["gold"])]
        annotations = make_egoproactive_annotations(rows(sessions))
        made = make_episodes(EGO, annotations, protocol)
        assert made.refused == {}
        by_id = {session.id: texts[session.row] for session in annotations.sessions}
        records = [
            answering_record(e, protocol, lambda poll, by_id=by_id: by_id[poll.meta["item"]][int(poll.meta["chunk"])])
            for e in made.episodes
        ]
        score = score_egoproactive_records(annotations, records)
        assert_equal_values(score.values, {name: case["expected"]["overall"][name] for name in score.values})
        checked += 1
    assert checked >= 20


def ask_in_chunks(row, number):
    """A gold row whose chunks follow each other, in a video of its own."""
    spans = [[k * CHUNK_S, (k + 1) * CHUNK_S] for k in range(len(row["answers"]))]
    return row | {"video_path": f"{number}.mp4", "video_intervals": spans, "query": "How?"}


@cache
def omnimmi():
    return open_benchmark(OMNIMMI).read_annotations(find_field_file(OMNIMMI, "data"))


@pytest.mark.parametrize("protocol", open_suite(OMNIMMI).protocols)
def test_all_items_of_omnimmi_become_episodes(protocol):
    rules = open_suite(OMNIMMI).protocols[protocol]
    made = make_episodes(OMNIMMI, omnimmi(), rules)
    assert (made.refused, len(made.episodes)) == ({}, 700)
    polls = sum(len(episode.polls) for episode in made.episodes)
    grounding = sum(turns * items for turns, items in ((1, 5), (2, 188), (3, 105), (4, 2)))
    assert polls == 200 + grounding + (200 * 150 if protocol == "polled" else 0)
    # the official formula gives one alert IoU 0
    score = score_omnimmi_records(omnimmi(), oracle_records(made.episodes, rules))
    assert {name: score.values[name] for name in ("pa_accuracy", "pa_precision", "pa_iou", "pt_accuracy")} == {
        "pa_accuracy": 1.0,
        "pa_precision": 1.0,
        "pa_iou": 1.0 if protocol == "polled" else 0.0,
        "pt_accuracy": 1.0,
    }


def test_omnimmi_records_of_handed_alerts_have_their_official_values():
    """All alerts but those of the first second, which the published loop drops before the scorer sees them."""
    protocol = open_suite(OMNIMMI).protocols["official"]
    benchmark = open_benchmark(OMNIMMI)
    results = benchmark.read_results([find_field_file(OMNIMMI, "sets/pa_a.json")], omnimmi())
    made = make_episodes(OMNIMMI, omnimmi(), protocol, FPS)
    episodes = [episode for episode in made.episodes if episode.meta["item"] in results.alerts]
    said = {item: {round(time * FPS): "x" for time in times} for item, times in results.alerts.items()}
    records = [speaking_record(e, protocol, said[e.meta["item"]]) for e in episodes]
    score = score_omnimmi_records(omnimmi(), records)
    official = {item.id: item for item in score_omnimmi(omnimmi(), results).items}
    early = {item for item, times in results.alerts.items() if min(times, default=1) < 1}
    assert (len(score.items), len(early)) == (200, 3)
    for item in score.items:
        if item.id not in early:
            assert item == official[item.id]


def test_omnimmi_records_of_handed_replies_have_their_official_value():
    protocol = open_suite(OMNIMMI).protocols["official"]
    results = open_benchmark(OMNIMMI).read_results([find_field_file(OMNIMMI, "sets/pt_a.json")], omnimmi())
    made = make_episodes(OMNIMMI, omnimmi(), protocol)
    records = [
        answering_record(e, protocol, lambda poll: results.replies[poll.meta["item"]])
        for e in made.episodes
        if e.meta["item"] in results.replies
    ]
    expected = read_field_file(OMNIMMI, "expected.json")["sets"]["pt_a"]["average_accuracy"]
    assert score_omnimmi_records(omnimmi(), records).values["pt_accuracy"] == pytest.approx(expected, abs=1e-12)


def test_omnimmi_records_with_handed_verdicts_have_their_official_values():
    protocol = open_suite(OMNIMMI).protocols["official"]
    results = open_benchmark(OMNIMMI).read_results([find_field_file(OMNIMMI, "sets/sg_a.json")], omnimmi())
    made = make_episodes(OMNIMMI, omnimmi(), protocol)
    records = [
        answering_record(e, protocol, lambda poll: "x") for e in made.episodes if e.meta["item"] in results.verdicts
    ]
    values = score_omnimmi_records(omnimmi(), records, results.verdicts).values
    expected = read_field_file(OMNIMMI, "expected.json")["sets"]["sg_a"]
    wanted = {"sg_accuracy": expected["average_accuracy"], "sg_score": expected["average_score"]}
    wanted |= {f"sg_step_accuracy@{step}": value for step, value in expected["each_step_accuracy"].items()}
    assert_equal_values(values, wanted)


def read_spoken_replies(case):
    """Frame and text of the replies of each question; None where utterances cannot be those replies.

    A stream says one text on a frame, in order of time.
    """
    said = {}
    for row in case["predictions"]:
        if not isinstance(row, dict) or not isinstance(row.get("records"), list) or row["question_id"] in said:
            return None
        replies = [r for r in row["records"] if str(r.get("answerable")).lower() == "yes" and r.get("model_response")]
        times = [reply["video_span"][1] for reply in replies]
        frames = [round(time * FPS) for time in times]
        if frames != sorted(set(frames)) or any(f / FPS != t for f, t in zip(frames, times, strict=True)):
            return None
        said[row["question_id"]] = dict(zip(frames, (reply["model_response"] for reply in replies), strict=True))
    return said


def test_proactivevideoqa_records_of_handed_cases_have_their_official_values():
    """Cases of known questions whose replies a stream can say after the question, which comes at the start."""
    checked = 0
    for case in read_field_file(VIDEOQA, "cases.json")["cases"]:
        said = read_spoken_replies(case)
        annotations = make_proactivevideoqa_annotations(rows(case["gold"]))
        ids = {question.id for question in annotations.questions}
        if said is None or "raises" in case["expected"] or not said.keys() <= ids or len(ids) < len(case["gold"]):
            continue
        protocol = ReplayProtocol(question_time="start")
        lengths = {question.video: 24 * 3600 * FPS for question in annotations.questions}
        made = make_episodes(VIDEOQA, annotations, protocol, FPS, lengths)
        if made.refused or any(0 in frames for frames in said.values()):
            continue
        records = [speaking_record(e, protocol, said.get(e.meta["item"], {})) for e in made.episodes]
        values = score_proactivevideoqa_records(annotations, records, case["verdicts"]).values
        if values["omega=0"] is None:
            assert not case["verdicts"]
            continue
        for omega in ("0", "0.5", "1"):
            wanted = 100 * case["expected"]["pauc"][omega]
            assert values[f"omega={omega}"] == pytest.approx(wanted, rel=1e-12, abs=1e-10), case["case"]
        checked += 1
    assert checked >= 20
