"""Readers of published files on damaged content: results, or one clear error line, and never anything else."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prospect_core.util.errors import UserError
from prospect_eval.scoring.published_timing import score_published_timing
from prospect_eval.suites.benchmark import open_benchmark
from prospect_eval.suites.suite import open_suite
from tests.helpers.ovo_bench_items import choice_entry, clue_entry, count_entry, step_entry
from tests.helpers.replayed_benchmarks import KnownLengths, assert_sound, oracle_records

pytestmark = pytest.mark.integration
OVO_ITEMS = [choice_entry(1), count_entry(2), step_entry(3), clue_entry(4)]
OVO_RESULTS = {
    "backward": [{"id": 1, "task": "EPM", "video": "v1.mp4", "response": "B", "ground_truth": "B"}],
    "realtime": [],
    "forward": [{**count_entry(2), "test_info": [{"realtime": 3, "count": 1, "response": ["1"]}]}],
}
TIMING_ROWS = [
    {"sample_id": 2, "task": "REC", "gt_timestamp": [3.0], "prediction": '{"detections": [3]}'},
    {"id": 4, "checked_detections": [{"time": 5}]},
]
PROACTIVE = [
    {
        "time": "[0:00:00 - 0:00:30]",
        "video_path": "v.mp4",
        "questions": [
            {
                "task_type": "Proactive Output",
                "question": 'When it shows, output "3".',
                "time_stamp": "00:00:20",
                "ground_truth_time_stamp": "00:00:29",
                "ground_truth_output": "3",
                "m": {"answered": 28, "dialog_history": [{"role": "assistant", "content": "3", "time": 28}]},
            }
        ],
    }
]
SESSIONS = [
    {
        "video_path": "v.mp4",
        "duration_in_sec": 16.0,
        "video_intervals": [[0, 8], [8, 16]],
        "query": "How?",
        "task": "Tea",
        "answers": ["$interrupt$Boil.", "$silent$"],
        "dialog": [[{"role": "user", "text": "How?"}], [{"role": "assistant", "text": "$interrupt$Boil."}]],
    }
]
SESSION_RESULTS = [{"video_path": "v.mp4", "answers": ["$interrupt$Go.", "$silent$"]}]
ALERTS = [{"video": "v_0.0_150.0.mp4", "question": "?", "answer": [10, 20]}]
ALERT_RESULTS = [{**ALERTS[0], "pred": [12, 30.5]}]
REPLIES = [
    {
        "video": "v.mp4",
        "question_id": "q",
        "duration": 40,
        "conversation": [{"role": "user", "content": "What?", "time": 0}],
        "answer": [{"content": "a", "related_timespan": [10, 20], "reply_timespan": [10, 30]}],
    }
]
REPLY_RESULTS = [
    {"question_id": "q", "records": [{"video_span": [11, 12], "answerable": "Yes", "model_response": "a"}]},
    {"custom_id": "q=0=12.0", "content": "3"},
]
CHOICES = [
    [
        {
            "video_path": "v.mp4",
            "questions": [
                {
                    "task_type": "SQA",
                    "question": "Who?",
                    "time_stamp": "00:00:20",
                    "options": ["A. x", "B. y"],
                    "answer": "B",
                    "m": "B",
                }
            ],
        }
    ]
]
SAMPLES = [
    {
        "id": "s",
        "task": "cumulative_counting",
        "video_id": "v",
        "duration": 30,
        "question_time": "00:00",
        "question": "How many?",
        "ground_truth": [{"trigger_time": "00:10", "count": 1}, {"trigger_time_sec": 20, "count": "2"}],
    }
]
SAMPLE_RESULTS = [{"id": "s", "task": "cumulative_counting", "predictions": [{"t_sec": 11, "raw": "1"}]}]
FEEDBACK = [
    {
        "long_range_video_file": "v.mp4",
        "feedbacks": ["", "Go.", "", "Stop."],
        "feedback_timestamps": [2.0, 5.5],
        "is_transition": [False, False, False, True],
    }
]
FEEDBACK_RESULTS = [{"id": "v.mp4", "pred_timestamps": [2.5, 8], "pred_feedbacks": ["Go.", "Stop."]}]
#: whole files of annotations and of results
FILES = {
    "egoproactive": (SESSIONS, SESSION_RESULTS),
    "fitcoach": (FEEDBACK, FEEDBACK_RESULTS),
    "omnipro": (SAMPLES, SAMPLE_RESULTS),
    "omnimmi": (ALERTS, ALERT_RESULTS),
    "proactivevideoqa": (REPLIES, REPLY_RESULTS),
    "ovo_bench": (OVO_ITEMS, OVO_RESULTS),
    "ovo_timing": (OVO_ITEMS, TIMING_ROWS),
    "streamingbench": (PROACTIVE, PROACTIVE),
    "streamingbench_choices": (CHOICES, CHOICES),
}
#: benchmarks whose episodes are made of damaged annotations, too
REPLAYED = sorted(name for name in FILES if open_benchmark(name).replay is not None)
VALUES = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1.5,
        10**400,
        -1e300,
        1e9,
        1e308,
        2**63,
        [0, 1e9],
        "9999999:00:00",
        "[9999999:00:00 - 9999999:00:10]",
        "0.0 -- 1e9",
        "v_0.0_999999999999.0.mp4",
        "",
        "x",
        "1",
        "[1, 2]",
        "00:00:01",
        [],
        [1],
        ["a", None],
        {},
        {"a": 1},
        [[]],
    ]
)


def list_places(value, place=()):
    """Paths to all values inside a JSON value."""
    yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from list_places(value[key], (*place, key))


def replace_at(value, place, new):
    """A copy with another value, or without it, at a path."""
    if not place:
        return new
    changed = copy.deepcopy(value)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    if new is KeyError:
        del holder[place[-1]]
    else:
        holder[place[-1]] = new
    return changed


@st.composite
def damaged(draw, value):
    """The value with one or two places replaced or removed."""
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(list(list_places(value))))
        value = replace_at(value, place, draw(st.one_of(VALUES, st.just(KeyError))) if place else draw(VALUES))
    return value


def assert_sound_timing(timing):
    for entry in timing.values():
        assert entry["value"] is None or 0 <= entry["value"] <= 1


def read_all(benchmark, folder, annotations, results):
    """The error line, and the values of the score."""
    first, second = folder / "annotations.json", folder / "results.json"
    first.write_text(json.dumps(annotations))
    second.write_text(json.dumps(results))
    try:
        read = benchmark.read_annotations(first)
        benchmark.find_problems(read)
        given = benchmark.read_results([second], read)
        score = benchmark.score(read, given)
        if benchmark.list_times is not None:
            assert_sound_timing(score_published_timing(benchmark.list_times(read, given)))
    except UserError as error:
        return str(error), {}
    return "", score.values


@pytest.mark.parametrize("name", sorted(FILES))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_benchmark_readers_damaged_file_is_read_or_refused(tmp_path, name, data):
    annotations, results = FILES[name]
    if data.draw(st.booleans()):
        annotations = data.draw(damaged(annotations))
    else:
        results = data.draw(damaged(results))
    benchmark = open_benchmark(name)
    line, values = read_all(benchmark, tmp_path, annotations, results)
    assert "\n" not in line
    for value_name, value in values.items():
        low, high = benchmark.find_value_range(value_name)
        assert value is None or low <= value <= high


@pytest.mark.parametrize("name", sorted(FILES))
def test_benchmark_readers_complete_file_is_read(tmp_path, name):
    benchmark = open_benchmark(name)
    annotations, results = FILES[name]
    for file, content in (("a.json", annotations), ("r.json", results)):
        (tmp_path / file).write_text(json.dumps(content))
    read = benchmark.read_annotations(tmp_path / "a.json")
    assert benchmark.score(read, benchmark.read_results([tmp_path / "r.json"], read)).count("scored") > 0
    for make in benchmark.constants.values():
        assert len(benchmark.score(read, make(read)).items) > 0


#: event F1 within 2 s of the complete files, by hand: 2 pairs / (responses + due times)
TIMING_F1 = {
    "egoproactive": 1.0,  # an interrupt in chunk 1 of both
    "fitcoach": 2 * 1 / (2 + 2),  # 2.5 and 8 s for 2 and 5.5 s
    "omnimmi": 2 * 1 / (2 + 1),  # 12 and 30.5 s for 10 s
    "omnipro": 2 * 1 / (1 + 2),  # 11 s for 10 and 20 s
    "proactivevideoqa": 1.0,  # 12 s for 10 s
    "streamingbench": 1.0,  # 28 s for 29 s
}


@pytest.mark.parametrize("name", sorted(TIMING_F1))
def test_list_times_complete_file_has_the_event_f1_of_hand_computation(tmp_path, name):
    benchmark = open_benchmark(name)
    for file, content in zip(("a.json", "r.json"), FILES[name], strict=True):
        (tmp_path / file).write_text(json.dumps(content))
    read = benchmark.read_annotations(tmp_path / "a.json")
    times = benchmark.list_times(read, benchmark.read_results([tmp_path / "r.json"], read))
    assert score_published_timing(times)["speaking_event_f1@2s"]["value"] == pytest.approx(TIMING_F1[name])


@pytest.mark.parametrize("name", REPLAYED)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_annotations_give_sound_episodes_or_reasons(name, data, tmp_path):
    benchmark, suite = open_benchmark(name), open_suite(name)
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(data.draw(damaged(FILES[name][0]))))
    lengths = KnownLengths(suite.fps, data.draw(st.sampled_from([{}, {"v.mp4": 25, "v1.mp4": 5, "v4.mp4": 9}])))
    protocol = data.draw(st.sampled_from(list(suite.protocols.values())))
    try:
        annotations = benchmark.read_annotations(file)
    except UserError:
        return
    for make_results in benchmark.constants.values():
        benchmark.score(annotations, make_results(annotations))
    made = benchmark.replay.make_episodes(annotations, protocol, lengths)
    assert_sound(made.episodes)
    records = oracle_records(made.episodes, protocol)
    assert [problem for record in records for problem in record.problems()] == []
    score = benchmark.replay.score_records(annotations, records)
    for value_name, value in score.values.items():
        low, high = benchmark.find_value_range(value_name)
        assert value is None or low <= value <= high
    benchmark.replay.constants(annotations, records)
