"""Published predictions as records of OVO-Bench, OVO-Timing and StreamingBench: the official numbers stay the same.

All items of the published annotations become episodes, and the oracle reaches the stated values.
"""

from __future__ import annotations

from functools import cache

import pytest

from prospect_core.records import ReplayProtocol
from prospect_eval.suites.benchmark import open_benchmark
from prospect_eval.suites.ovo_bench.annotations import CATEGORY_OF_TASK
from prospect_eval.suites.suite import open_suite
from tests.helpers.field_cases import find_field_file, read_field_file
from tests.helpers.replayed_benchmarks import (
    KnownLengths,
    answering_record,
    assert_sound,
    oracle_records,
    speaking_record,
)

pytestmark = pytest.mark.integration
#: benchmark -> the handed folder and file of its annotations
FILES = {
    "ovo_bench": ("ovo_bench", "data/ovo_bench_new.json"),
    "ovo_timing": ("ovo_bench", "data/ovo_bench_new.json"),
    "streamingbench": ("streamingbench_po", "data/questions_proactive.json"),
}
PROTOCOLS = [(name, protocol) for name in FILES for protocol in open_suite(name).protocols]


@cache
def annotations(name):
    return open_benchmark(name).read_annotations(find_field_file(*FILES[name]))


def make_episodes(name, protocol, lengths=None):
    made = open_benchmark(name).replay.make_episodes(annotations(name), protocol, lengths or KnownLengths())
    assert_sound(made.episodes)
    return made


def list_items(made):
    """Ids of the items that the episodes ask about."""
    polled = {poll.meta["item"] for episode in made.episodes for poll in episode.polls}
    return polled | {episode.meta["item"] for episode in made.episodes if "item" in episode.meta}


@pytest.mark.parametrize(("name", "protocol"), PROTOCOLS)
def test_all_items_become_episodes(name, protocol):
    suite = open_suite(name)
    made = make_episodes(name, suite.protocols[protocol], KnownLengths(suite.fps))
    assert made.refused == {}
    assert len(list_items(made)) == {"ovo_bench": 1640, "ovo_timing": 172, "streamingbench": 250}[name]
    assert sum(len(episode.polls) for episode in made.episodes) == {
        ("ovo_bench", "one_pass"): 3035, ("ovo_bench", "official"): 3035, ("ovo_bench", "autonomous"): 1468,
        ("streamingbench", "polled"): 2 * 3284, ("streamingbench", "official"): 2 * 3284,
    }.get((name, protocol), 0)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "protocol", "values"),
    [
        ("ovo_bench", "one_pass", {"backward": 1.0, "realtime": 1.0, "forward": 1.0, "total": 1.0}),
        # six counts of the annotations are not those of the ends passed, and two steps touch at the poll
        ("ovo_bench", "autonomous", {"REC": 692 / 698, "SSR": 627 / 629, "CRR": 1.0, "backward": 1.0}),
        # gold times that are equal share one utterance
        ("ovo_timing", "official", {"CRR.f1_at_2s": 1.0, "SSR.f1_at_2s": 1.0, "REC.precision_at_2s": 1.0}),
        ("streamingbench", "autonomous", {"time_accuracy": 1.0, "answer_accuracy": 1.0}),
        ("streamingbench", "official", {"time_accuracy": 1.0, "answer_accuracy": 1.0}),
    ],
)
def test_oracle_reaches_the_best_values(name, protocol, values):
    suite = open_suite(name)
    made = make_episodes(name, suite.protocols[protocol], KnownLengths(suite.fps))
    records = oracle_records(made.episodes, suite.protocols[protocol])
    score = open_benchmark(name).replay.score_records(annotations(name), records)
    assert {value: score.values[value] for value in values} == pytest.approx(values)


def list_ovo_bench_models():
    """Published models whose rows have the ids, letters and counts of the annotations."""
    folder = find_field_file("ovo_bench", "results")
    return [found.name for found in sorted(folder.iterdir()) if found.name != "GPT"]


def test_ovo_bench_records_of_published_models_have_their_official_values():
    protocol = open_suite("ovo_bench").protocols["official"]
    benchmark = open_benchmark("ovo_bench")
    expected = read_field_file("ovo_bench", "expected.json")["models"]
    made = make_episodes("ovo_bench", protocol)
    assert list_ovo_bench_models()
    for model in list_ovo_bench_models():
        folder = find_field_file("ovo_bench", f"results/{model}")
        results = benchmark.read_results([folder], annotations("ovo_bench"))
        texts = {row.id: row.response for row in results.choices}
        texts |= {f"{row.id}.{k}": poll.response for row in results.forward for k, poll in enumerate(row.polls)}
        records = [answering_record(e, protocol, lambda poll, texts=texts: texts[poll.id]) for e in made.episodes]
        score = benchmark.replay.score_records(annotations("ovo_bench"), records)
        wanted = {task: block["accuracy"] for task, block in expected[model]["tasks"].items()}
        wanted |= {name: block["accuracy"] for name, block in expected[model]["categories"].items()}
        wanted["total"] = expected[model]["total"]
        assert set(wanted) >= set(CATEGORY_OF_TASK)
        assert score.values == pytest.approx(wanted, abs=1e-12, rel=1e-12)


def test_ovo_bench_constants_of_records_have_their_official_values():
    protocol = open_suite("ovo_bench").protocols["official"]
    replay = open_benchmark("ovo_bench").replay
    records = oracle_records(make_episodes("ovo_bench", protocol).episodes, protocol)
    found = replay.constants(annotations("ovo_bench"), records)
    for name, block in read_field_file("ovo_bench", "constants.json")["constants"].items():
        if name in found:
            assert found[name].values["total"] == pytest.approx(block["total"], abs=1e-12), name
    assert found["rec_1"].values["forward"] == pytest.approx(0.49245569520304056, abs=1e-12)


def test_ovo_timing_records_of_handed_sets_have_their_official_values():
    """At 1000 frames a second the frame of an utterance has exactly the time of the detection."""
    protocol = ReplayProtocol()
    replay = open_benchmark("ovo_timing").replay
    made = make_episodes("ovo_timing", protocol, KnownLengths(1000, AlwaysLong()))
    expected = read_field_file("ovo_timing", "expected.json")["sets"]
    checked = []
    for file in sorted(find_field_file("ovo_timing", "sets").iterdir()):
        detections = read_field_file("ovo_timing", f"sets/{file.name}")["detections"]
        if not all(map(may_be_spoken, detections.values())):
            continue
        asked = {e.meta["item"]: e.user_turns()[0][0] for e in made.episodes}
        said = {
            item: {round(time * 1000): "x" for time in times if round(time * 1000) > asked[item]}
            for item, times in detections.items()
        }
        if any(len(said[item]) != len(times) for item, times in detections.items()):
            continue
        records = [speaking_record(e, protocol, said[e.meta["item"]]) for e in made.episodes]
        score = replay.score_records(annotations("ovo_timing"), records)
        wanted = {name: value for name, value in expected[file.stem].items() if name.startswith("average")}
        assert {name: score.values[name] for name in wanted} == pytest.approx(wanted, abs=1e-12, rel=1e-12), file.stem
        checked.append(file.stem)
    assert {"silent", "every_1s", "every_5s", "end", "start_plus_1", "only_crr"} <= set(checked), checked


def may_be_spoken(times):
    """Whether detections are those of utterances: in order of time, each at a time of its own, in milliseconds."""
    frames = [round(time * 1000) for time in times]
    return frames == sorted(set(frames)) and all(
        frame / 1000 == time for frame, time in zip(frames, times, strict=True)
    )


class AlwaysLong(dict):
    """A video of any name lasts for a day."""

    def get(self, video, default=None):
        return 24 * 3600 * 1000


def test_streamingbench_records_of_handed_predictions_have_their_official_values():
    protocol = open_suite("streamingbench").protocols["official"]
    replay = open_benchmark("streamingbench").replay
    made = make_episodes("streamingbench", protocol)
    entries = read_field_file("streamingbench_po", "predictions/synthetic_a.json")
    texts = {}
    for place, entry in enumerate(entries):
        for number, question in enumerate(entry["questions"]):
            texts |= read_dialog(f"{place}.{number}", question["synthetic_a"]["dialog_history"])
    records = [answering_record(e, protocol, lambda poll: texts.get(poll.id, "")) for e in made.episodes]
    score = replay.score_records(annotations("streamingbench"), records)
    stats = read_field_file("streamingbench_po", "expected.json")["predictions"]["synthetic_a"]["stats"]
    wanted = stats["Proactive Output"]
    assert score.values == pytest.approx(
        {name: wanted[name] for name in ("time_accuracy", "answer_accuracy")}, abs=1e-12, rel=1e-12
    )


def read_dialog(item, history):
    """Answers by the id of their poll: a user turn without "[poll]" puts the question itself."""
    found = {}
    for asked, answered in zip(history[::2], history[1::2], strict=True):
        name = f"{item}@{answered['time']}"
        found[name if asked["content"].endswith("[poll]") else f"{name}.output"] = answered["content"]
    return found


def test_streamingbench_constants_of_records_have_their_official_values():
    protocol = open_suite("streamingbench").protocols["official"]
    replay = open_benchmark("streamingbench").replay
    records = oracle_records(make_episodes("streamingbench", protocol).episodes, protocol)
    found = replay.constants(annotations("streamingbench"), records)
    expected = read_field_file("streamingbench_po", "expected.json")["baselines"]
    for name, score in found.items():
        wanted = expected[name]["stats"]["Proactive Output"]
        assert score.values == pytest.approx({key: wanted[key] for key in score.values}, abs=1e-12), name
