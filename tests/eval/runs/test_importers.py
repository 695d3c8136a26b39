"""Predictions of other programs, scored without a model; comparison or refusal of two runs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from prospect_core.records import Knobs
from prospect_core.timeline import Event
from prospect_core.util.atomic import write_atomic
from prospect_core.util.entry_points import load_entry_point
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.analysis.compare import compare_noise_floors, compare_runs
from prospect_eval.analysis.pareto_front import pareto_front
from prospect_eval.cli.commands import prospect_eval
from prospect_eval.metrics import all_metrics
from prospect_eval.runs.folder import RunConfig, open_run_folder
from prospect_eval.runs.importers import read_imported_predictions
from prospect_eval.scoring.score import score_records, write_score_metrics
from tests.helpers.commands import evaluate, one_line
from tests.helpers.predictions import TOOLS, episode, predict, say


def proassist_stream(reference, said, **meta):
    """The frames of an episode as ProAssist's evaluator writes them."""
    due = {u.frame: u.text for u in reference.utterances()}
    asked = {frame + 1: event.text for frame, event in reference.user_turns()}
    frames = [
        {"gen": said.get(f, ""), "ref": due.get(f, ""), "frame_idx_in_stream": f, "timestamp_in_stream": (f + 1) / 2,
         "frame_idx_in_original_video": f, "text_inputs": [["user", asked[f]]] if f in asked else []}
        for f in range(reference.num_frames)
    ]  # fmt: skip
    return {"metadata": {"video_uid": "v", "fps": 2, "dataset": "wtag/dialog", **meta}, "predictions": frames}


REFERENCE = episode(say(5.0, "Boil it."), Event("u", 8.0, "user", "What now?"), say(9.0, "Pour it."))


def test_import_proassist_file_gives_record(tmp_path):
    file = tmp_path / "0.json"
    file.write_text(json.dumps(proassist_stream(REFERENCE, {10: "Boil it.", 30: "Well done."})))
    (alone,), _ = read_imported_predictions(file)
    assert [(u.frame, u.text) for u in alone.utterances] == [(10, "Boil it."), (30, "Well done.")]
    assert [(u.frame, u.text) for u in alone.episode.utterances()] == [(10, "Boil it."), (18, "Pour it.")]
    assert [frame for frame, _ in alone.episode.user_turns()] == [16]
    assert (alone.episode.dataset, alone.episode.fps) == ("wtag/dialog", 2)
    (held,), _ = read_imported_predictions(file, [REFERENCE, episode(say(5.0, "Other."), id_="other")])
    assert held.episode == REFERENCE
    with pytest.raises(DataError, match="no episode"):
        read_imported_predictions(file, [episode(say(5.0, "Other."), id_="other")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "neither a prediction record"),
        ("{", "not JSON"),
        ('{"predictions": [{"gen": "x"}]}', "not a ProAssist prediction file"),
        ('{"predictions": []}', "holds no frame"),
        ('{"schema": 1}', "model"),
    ],
)
def test_import_invalid_file_is_one_line(tmp_path, text, message):
    file = tmp_path / "p.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_imported_predictions(file)


@pytest.mark.integration
def test_score_command_scores_imported_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = predict(REFERENCE, [(10, "Boil it."), (18, "Pour it.")])
    (tmp_path / "theirs.jsonl").write_text(dump_json(record) + "\n")
    result = CliRunner().invoke(prospect_eval, ["score", "theirs.jsonl", "--output", "out"])
    assert result.exit_code == 0, result.output
    assert read_json(tmp_path / "out" / "metrics.json")["metrics"]["matched_f1"]["value"] == pytest.approx(1.0)
    assert read_json(tmp_path / "out" / "counts.json")["counts"]["matched_f1"] == {"e": [2, 0, 0, 0]}
    twice = dump_json(record) + "\n" + dump_json(record) + "\n"
    (tmp_path / "theirs.jsonl").write_text(twice)
    result = CliRunner().invoke(prospect_eval, ["score", "theirs.jsonl", "--output", "again"])
    assert result.exit_code == 3
    assert "is predicted twice" in result.output


def runs(tmp_path, *shifts, videos=12):
    """Scored run folders with delayed predictions."""
    folders = []
    for shift in shifts:
        records = []
        for k in range(videos):
            reference = episode(say(5.0 + k % 3), say(12.0), video=f"v{k}", id_=f"e{k}")
            records.append(predict(reference, [(u.frame + shift, u.text) for u in reference.utterances()]))
        folder = tmp_path / f"late-{shift}-{videos}"
        open_run_folder(folder, RunConfig("m", "w", "data", "d", "test", None, Knobs(), "c"))
        write_score_metrics(folder, score_records(records, TOOLS))
        folders.append(folder)
    return folders


@pytest.mark.slow
def test_compare_runs_late_model_is_worse(tmp_path, monkeypatch):
    tested = ("speaking_event_f1@1s", "speaking_event_f1@5s")
    monkeypatch.setattr("prospect_eval.analysis.pairing.pairing_headline_metrics", lambda runs, metrics: tested)
    monkeypatch.setattr("prospect_eval.analysis.compare.pairing_headline_metrics", lambda runs, metrics: tested)
    first, second, small, late = *runs(tmp_path, 0, 3), *runs(tmp_path, 0, 3, videos=5)

    def verdicts(*folders):
        (found,) = compare_runs(folders[0], folders[1:], all_metrics(TOOLS))
        return {d.name: d.verdict for d in found.differences}

    found = verdicts(first, second)
    assert found["speaking_event_f1@1s"] == "worse"
    assert found["speaking_event_f1@5s"] == "identical"
    assert set(verdicts(first, first).values()) == {"identical", "exploratory"}
    assert set(verdicts(small, late).values()) == {"too few", "exploratory"}


def placed(folder, strategy, budget, peak, quality, digest="d"):
    """A scored run folder with only the files for a Pareto front."""
    config = RunConfig("m", "w", "data", digest, "test", None, Knobs(strategy, budget), "c")
    open_run_folder(folder, config)
    entries = {
        "dst_head_jga": {"value": quality, "ci95": [0.0, 1.0], "reason": "", "signature": "metric:dst_head_jga"},
        "cache_peak_bytes": {"value": peak, "ci95": None, "reason": "no cache", "signature": "metric:cache_peak_bytes"},
    }
    write_atomic(folder / "metrics.json", dump_json({"metrics": entries}))
    counts = {"schema": 2, "clusters": {"e": "v"}, "failed": [], "counts": {}}
    write_atomic(folder / "counts.json", dump_json(counts))
    return folder


def test_pareto_front_has_undominated_runs(tmp_path, capsys):
    runs = [
        placed(tmp_path / "none", "none", None, 1000, 0.9),
        placed(tmp_path / "a", "dst_refresh", 100, 500, 0.8),
        placed(tmp_path / "b", "drop_middle", 100, 500, 0.7),
        placed(tmp_path / "c", "drop_all", 50, 250, 0.8),
        placed(tmp_path / "d", "uniform", 50, 250, 0.8),
        placed(tmp_path / "e", "drop_middle", 25, 100, 0.1),
    ]
    found = pareto_front(runs)
    # equal in both values: neither dominates the other
    assert [p.strategy for p in found["points"] if p.on_front] == ["drop_middle", "drop_all", "uniform", "none"]
    assert [p.share for p in found["points"]] == [0.1, 0.25, 0.25, 0.5, 0.5, 1.0]
    assert found["lines"] == {"none": [[1000, 0.9]], "drop_middle": [[100, 0.1], [500, 0.7]]}
    assert pareto_front(runs[1:])["points"][0].share is None
    with pytest.raises(UserError, match="did you mean 'dst_head_jga'"):
        pareto_front(runs, "dst_head_jgo")
    with pytest.raises(UserError, match="different data"):
        pareto_front([*runs, placed(tmp_path / "other", "none", None, 1, 1, digest="x")])
    with pytest.raises(DataError, match="no cache"):
        pareto_front([placed(tmp_path / "blind", "none", None, None, 1)])
    result = CliRunner().invoke(prospect_eval, ["pareto", *map(str, runs), "--json", str(tmp_path / "front.json")])
    assert result.exit_code == 0, result.output
    assert len(read_json(tmp_path / "front.json")["points"]) == 6


def test_compare_noise_floors_other_runs_raise(tmp_path):
    folders = runs(tmp_path, 0, 1, 2)
    floors = compare_noise_floors(folders, all_metrics(TOOLS))
    assert floors["speaking_event_f1@2s"] == 0.0
    assert floors["speaking_f1"] == 1.0
    assert "dst_illegal_per_minute" in floors
    other = placed(tmp_path / "other", "none", None, 1, 1, digest="x")
    with pytest.raises(UserError, match="data_digest"):
        compare_noise_floors([folders[0], other], all_metrics(TOOLS))
    with pytest.raises(UserError, match="two runs"):
        compare_noise_floors(folders[:1], all_metrics(TOOLS))


def test_compare_noise_floors_seeds_allow_other_models(tmp_path):
    folders = runs(tmp_path, 0, 1)
    body = read_json(folders[1] / "run.json")
    body["config"] |= {"model": "seed2", "model_digest": "x"}
    write_atomic(folders[1] / "run.json", dump_json(body))
    with pytest.raises(UserError, match=r"model, model_digest differ; --seeds allows"):
        compare_noise_floors(folders, all_metrics(TOOLS))
    assert compare_noise_floors(folders, all_metrics(TOOLS), seeds=True)["speaking_f1"] == 1.0


def test_score_command_partial_file_reports_missing(short_world, tmp_path, monkeypatch):
    from prospect_core.data.dataset import Dataset
    from prospect_eval.models.baselines.trivial import make_trivial_baseline
    from prospect_eval.runs.executor import select_run_episodes

    monkeypatch.chdir(tmp_path)
    rows = list(select_run_episodes(Dataset.open(short_world.root), "test", None))
    (tmp_path / "theirs.jsonl").write_text(dump_json(make_trivial_baseline("oracle", [])(rows[0])) + "\n")
    command = ["score", "theirs.jsonl", "--data", str(short_world.root), "--output", "out"]
    result = CliRunner().invoke(prospect_eval, command)
    assert result.exit_code == 0, result.output
    missing = sorted(row.id for row in rows[1:])
    first = next(line for line in result.output.splitlines() if not line.startswith("score"))
    assert first.startswith(
        f"{len(missing)} of {len(rows)} episodes failed or are missing; they count as the worst value: "
    )
    assert missing[0] in first
    table = read_json(tmp_path / "out" / "metrics.json")
    assert table["episodes"]["failed"] == len(missing)
    assert table["metrics"]["matched_f1"]["value"] < 1.0 == table["without_failed"]["matched_f1"]


@pytest.mark.integration
def test_score_command_mixed_records_are_refused(short_world, tmp_path, capsys):
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", short_world.root, "--output", tmp_path / "run") == 0
    good = [json.loads(file.read_text()) for file in sorted((tmp_path / "run/episodes").iterdir())]
    frames = good[0]["episode"]["end_frame"] - good[0]["episode"]["start_frame"]
    for change, why in (
        ({"model": "other"}, "predictions of 2 models (baseline:oracle, other); score each separately"),
        ({"speaking_prob": [2.0] * frames}, "speaking_prob holds 2; probabilities are 0 to 1"),
        ({"update_prob": [-1.0] * frames}, "update_prob holds -1; probabilities are 0 to 1"),
    ):
        file = tmp_path / "theirs.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in [good[0] | change, *good[1:]]))
        capsys.readouterr()
        assert evaluate("score", file, "--output", tmp_path / "theirs") == 3
        assert why in one_line(capsys)


def test_load_entry_point_broken_package_is_one_line(monkeypatch, tmp_path):
    from importlib.metadata import EntryPoint

    (tmp_path / "broken_plugin.py").write_text("def (:")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        DataError, match=r"prospect.metrics 'm' \(broken_plugin:x\): cannot be imported \(SyntaxError: "
    ):
        load_entry_point(EntryPoint("m", "broken_plugin:x", "prospect.metrics"))


@pytest.mark.integration
def test_calibrate_command_released_checkpoint_is_refused(short_world, capsys):
    assert evaluate("calibrate", "--ckpt", "workbench-tiny", "--data", short_world.root, "--split", "val") == 2
    assert "released checkpoints keep their thresholds; calibrate a copy" in one_line(capsys)


@pytest.mark.parametrize("text", ["", " ", "...", "\u200b", "?!", "\n\t", "—"])
def test_import_utterance_without_words_raises(text, tmp_path):
    write_atomic(tmp_path / "p.jsonl", dump_json(predict(REFERENCE, [(4, "Boil it."), (10, text)])) + "\n")
    with pytest.raises(DataError, match=r"p.jsonl: row 1: the utterance .* on frame 10 holds no word; remove it"):
        read_imported_predictions(tmp_path / "p.jsonl")


@pytest.mark.parametrize("text", ["杯", "7", "👍", "é", "a."])
def test_import_utterance_of_any_script_is_read(text, tmp_path):
    write_atomic(tmp_path / "p.jsonl", dump_json(predict(REFERENCE, [(10, text)])) + "\n")
    assert read_imported_predictions(tmp_path / "p.jsonl")[0][0].utterances[0].text == text


def test_import_wordless_reference_text_is_accepted(tmp_path):
    write_atomic(tmp_path / "p.jsonl", dump_json(predict(episode(say(5.0, "...")), [(10, "...")])) + "\n")
    assert read_imported_predictions(tmp_path / "p.jsonl")[0][0].utterances[0].text == "..."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": "nan"}, "fps is 'nan'; a number above 0"),
        ({"fps": float("inf")}, "not a number that JSON knows"),
        ({"fps": 0}, "fps is 0; a number above 0"),
        ({"fps": -2}, "fps is -2; a number above 0"),
        ({"fps": "fast"}, "fps is 'fast'; a number above 0"),
        ({"frame_idx_in_stream": 10_000_000}, "frame 10000000 is beyond 24 h of stream"),
        ({"frame_idx_in_stream": 10**30}, "is beyond 24 h of stream"),
        ({"frame_idx_in_stream": -5}, "a whole number from 0 is needed"),
        ({"frame_idx_in_stream": 5.7}, "a whole number from 0 is needed"),
        ({"frame_idx_in_stream": True}, "a whole number from 0 is needed"),
        ({"frame_idx_in_stream": "5"}, "a whole number from 0 is needed"),
        ({"gen": ["x"]}, "gen is .'x'.; text is needed"),
        ({"ref": 5}, "ref is 5; text is needed"),
    ],
)
def test_import_proassist_invalid_values_are_one_line(change, message, tmp_path):
    stream = proassist_stream(REFERENCE, {10: "Boil it."})
    if "fps" in change:
        stream["metadata"] |= change
    else:
        stream["predictions"][-1] |= change
    (tmp_path / "p.json").write_text(json.dumps(stream), "utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_imported_predictions(tmp_path / "p.json")
    assert "\n" not in str(caught.value)


def test_import_too_long_record_raises(tmp_path):
    far = replace(REFERENCE, end_frame=10**9)
    write_atomic(tmp_path / "p.jsonl", dump_json(predict(far, [(10, "Boil it.")])) + "\n")
    with pytest.raises(DataError, match="more than 100 h; correct the frame numbers or the rate"):
        read_imported_predictions(tmp_path / "p.jsonl")
