"""The chain on published benchmarks: samples of annotations, and a whole chain with a kill on one suite."""

from __future__ import annotations

import json

import pytest

from benchmarks.reliability.field_samples import (
    ANNOTATIONS,
    INVENTED,
    SHORTEST_S,
    invent_choice_files,
    write_benchmark_sample,
)
from prospect_core.util.errors import DataError
from prospect_eval.suites.benchmark_dataset import open_benchmark_dataset
from prospect_eval.suites.suite import open_suite
from tests.helpers.field_cases import FIELD_DATA

pytestmark = pytest.mark.integration
SUITE = "streamingbench_choices"


def test_sample_holds_each_video_with_the_needed_length(tmp_path):
    sample = write_benchmark_sample(SUITE, invent_choice_files(10), tmp_path, 10)
    assert (sample.source, len(sample.videos)) == (INVENTED, 10)
    suite = open_suite(SUITE)
    made = open_benchmark_dataset(SUITE, tmp_path, next(iter(suite.protocols.values())), suite.fps)
    episodes = list(made.episodes("test"))
    assert len(episodes) == 10
    assert sum(len(episode.polls) for episode in episodes) == 20
    for episode in episodes:
        assert episode.num_frames == sample.videos[episode.video] >= SHORTEST_S


@pytest.mark.skipif(not FIELD_DATA.is_dir(), reason="field is not next to this checkout")
@pytest.mark.parametrize("name", sorted(ANNOTATIONS))
def test_sample_of_published_annotations_is_whole(tmp_path, name):
    sample = write_benchmark_sample(name, ANNOTATIONS[name](FIELD_DATA), tmp_path, 10)
    suite = open_suite(name)
    for protocol in suite.protocols.values():
        made = open_benchmark_dataset(name, tmp_path, protocol, suite.fps)
        assert {str(episode.video) for episode in made.episodes("test")} == set(sample.videos)


def test_chain_without_published_files_gives_the_reason(tmp_path):
    from benchmarks.reliability.field_chain import run_suite_chain, run_suite_chains

    with pytest.raises(DataError, match="give --reference FOLDER"):
        run_suite_chain("ovo_bench", None, 10, "workbench-tiny", tmp_path)
    found = run_suite_chains(["ovo_bench"], lambda suite, place: run_suite_chain(suite, None, 10, "", place))
    assert found["suites"] == {"ovo_bench": None}
    assert "--reference" in found["reasons"]["ovo_bench"]


def test_failed_check_is_listed(tmp_path):
    from benchmarks.reliability.field_chain import run_suite_chains

    found = run_suite_chains(["a", "b"], lambda suite, place: {"checks": {"x": suite == "a", "y": True}})
    assert found["failed_checks"] == ["b: x"]


def test_results_of_other_suites_in_the_report_are_kept(tmp_path):
    from benchmarks.reliability.field_chain import write_chain_report

    file = tmp_path / "chain.json"
    write_chain_report(file, {"suites": {"a": {"checks": {"x": False}}, "b": {"checks": {"x": False}}}}, "first")
    write_chain_report(file, {"suites": {"a": {"checks": {"x": True}}}}, "second")
    kept = json.loads(file.read_text("utf-8"))
    assert {name: suite["command"] for name, suite in kept["suites"].items()} == {"a": "second", "b": "first"}
    assert kept["failed_checks"] == ["b: x"]


@pytest.mark.slow
def test_chain_resumes_after_a_kill_and_gates(tmp_path, capsys):
    from benchmarks.reliability.field_chain import main

    file = tmp_path / "chain.json"
    with pytest.raises(SystemExit) as stop:
        main(["--suites", SUITE, "--videos", "10", "--output", str(file)])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (stop.value.code, result["failed_checks"]) == (0, [])
    chain = result["suites"][SUITE]
    assert chain["killed_after"] > 0
    assert {"records_equal", "gate_fails_silent", "missing_skipped"} <= set(chain["checks"])
    assert {"suites", "failed_checks", "environment"} == set(json.loads(file.read_text("utf-8")))
