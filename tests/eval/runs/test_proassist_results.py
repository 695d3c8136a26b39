"""ProAssist's result files and frame tables as records: frames, states, and messages for unreadable
parts.
"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from prospect_core.timeline import Event
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.cli.commands import prospect_eval
from prospect_eval.runs.importers import read_imported_predictions
from prospect_eval.runs.proassist_results import read_proassist_result_stream, read_proassist_result_table
from tests.helpers.predictions import episode, predict, say, score, step

HEADER = (
    "frame_idx,gt_speaking,pred_speaking,pred_speaking_prob,pred_response,gt_response,gt_dst_update,pred_dst_update,"
    "pred_dst_prob,pred_dst_updates,gt_dst_updates"
)


def output(index, gen="", ref="", asked=(), **more):
    """A published output of one frame."""
    return {
        "gen": gen, "ref": ref, "text_inputs": [["user", text] for text in asked], "frame_idx_in_stream": index,
        "frame_idx_in_original_video": index, "timestamp_in_stream": (index + 1) / 2, **more,
    }  # fmt: skip


def stream(*outputs, **meta):
    """A result file of 20 frames that contains these outputs."""
    given = {one["frame_idx_in_stream"]: one for one in outputs}
    frames = [given.get(index, output(index)) for index in range(20)]
    return {"metadata": {"video_uid": "v", "fps": 2, "dataset": "wtag", **meta}, "predictions": frames}


def references(record):
    return [(u.frame, u.text) for u in record.episode.utterances()]


@pytest.mark.parametrize(
    "outputs",
    [
        [output(10, "One.", "One."), output(11, "Two.", "Two.", ["Hm?"])],
        [output(0, "One.", "One.", ["Hi."]), output(1, "Two.", "Two.", ["And?"]), output(2, "Three.", "Three.")],
        [output(5, "One.", "One.", ["a", "b"]), output(6, "Two.", "Two.", ["c"])],
        [output(18, "One.", "One."), output(19, "Two.", "Two.", ["Last."])],
    ],
)
def test_proassist_stream_user_turn_keeps_reference_frame(outputs):
    record = read_proassist_result_stream(stream(*outputs), "here")
    expected = [(one["frame_idx_in_stream"], one["ref"]) for one in outputs]
    assert references(record) == expected
    assert [(u.frame, u.text) for u in record.utterances] == expected
    said = " ".join(event.text for _, event in record.episode.user_turns())
    assert said.split() == [text for one in outputs for _, text in one["text_inputs"]]
    assert score(record, name="matched_f1") == 1.0


def test_proassist_stream_equals_record_frames():
    """Index i is the picture at i / fps; the user's text is given with the frame after it."""
    file = read_proassist_result_stream(
        stream(output(4, ref="One."), output(9, ref="Two.", asked=["Hm?"]), output(10, ref="Three.")), "f"
    )
    times = episode(say(2.0, "One."), Event("u", 4.0, "user", "Hm?"), say(4.5, "Two."), say(5.0, "Three."))
    frames = episode(
        Event("a", 2.0, "assistant", "One.", frame=4), Event("u", 4.0, "user", "Hm?", frame=8),
        Event("b", 4.5, "assistant", "Two.", frame=9), Event("c", 5.0, "assistant", "Three.", frame=10),
    )  # fmt: skip
    found = [[(u.frame, u.text, u.responsive) for u in e.utterances()] for e in (file.episode, times, frames)]
    assert found[0] == found[1] == found[2] == [(4, "One.", False), (9, "Two.", True), (10, "Three.", False)]


def test_import_delayed_references_are_reported(tmp_path):
    record = predict(episode(Event("u", 4.5, "user", "Hm?"), say(4.5, "Two."), say(9.0, "Three.")), [(9, "Two.")])
    (tmp_path / "theirs.jsonl").write_text(dump_json(record) + "\n")
    told = []
    read_imported_predictions(tmp_path / "theirs.jsonl", tell=told.append)
    (line,) = told
    assert "at the same time: 1, the first on frame 10" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"fps": float("nan")}}, "fps is nan; a number above 0, at most 1000, is needed"),
        ({"metadata": {"fps": 0}}, "fps is 0; a number above 0"),
        ({"metadata": {"fps": "2"}}, "fps is '2'; a number"),
        ({"metadata": [1]}, "metadata is an object"),
        ({"predictions": {"0": 1}}, "predictions a list"),
        ({"predictions": [3]}, "a prediction is int"),
        (
            {"predictions": [output(10_000_000, "x")]},
            "frame 10000000 is beyond 24 h of stream, the maximum",
        ),
        ({"predictions": [output(5.7, "x")]}, "frame_idx_in_stream is 5.7; a whole number"),
        ({"predictions": [output(-2, "x")]}, "frame_idx_in_stream is -2"),
        ({"predictions": [output(True, "x")]}, "frame_idx_in_stream is True"),
        ({"predictions": [output(1, "x"), output(1, "y")]}, "frame 1 appears twice"),
        ({"predictions": [output(1, ["x"])]}, "frame 1: gen is ['x']; text is needed"),
        ({"predictions": [output(1) | {"text_inputs": ["hello"]}]}, "text_inputs holds 'hello'"),
        ({"dst_predictions": 4}, "dst_predictions is a list"),
        ({"dst_predictions": [{"frame_idx_in_stream": [1]}]}, "dst_predictions is a list"),
        ({"dst_predictions": [{"frame_idx_in_stream": 1}] * 2}, "dst_predictions holds a frame twice"),
        ({"dst_predictions": [{"frame_idx_in_stream": 77}]}, "holds frame 77, which predictions lacks"),
        ({"metadata": {"fps": 10**400}}, "at most 1000"),
    ],
)
def test_proassist_stream_damaged_is_one_line(change, message):
    with pytest.raises(DataError) as error:
        read_proassist_result_stream({**stream(), **change}, "here")
    assert str(error.value).startswith("here: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_proassist_stream_updates_use_data():
    outputs = [output(4, dst_update="S1->start"), output(9, dst_update="S1->complete; S9->start\nnonsense")]
    reference = episode(step(2.0, "S1", "start"), say(5.0, "Go on."), frames=20)
    record = read_proassist_result_stream(stream(output(10, ref="Go on."), *outputs), "here", [reference])
    assert [(t.frame, t.step, t.change) for t in record.transitions] == [(4, "S1", "start"), (9, "S1", "complete")]
    assert [(r.frame, r.step, r.wanted) for r in record.refusals] == [(9, "S9", "start"), (9, "", "nonsense")]
    assert record.problems() == []


def test_proassist_stream_updates_without_reference_are_reported():
    told = []
    record = read_proassist_result_stream(stream(output(4, dst_update="S1->start")), "here", tell=told.append)
    assert record.transitions == ()
    assert told == ["here: 1 state update ignored, because the file has no reference states; give --data FOLDER"]


def test_proassist_stream_context_lengths_are_kept_or_reported():
    whole = [output(k, context_length=100 + 10 * k) for k in range(20)]
    assert read_proassist_result_stream(stream(*whole), "here").cache_tokens == tuple(range(100, 300, 10))
    told = []
    assert read_proassist_result_stream(stream(*whole[:7]), "here", tell=told.append).cache_tokens == ()
    assert told == [
        "here: context_length is ignored: 7 frames have it, a value for every frame of the stream is needed"
    ]


def table(*rows):
    """A frame table; other frames are silent."""
    given = {row.split(",", 1)[0]: row for row in rows}
    lines = [given.get(str(k), f"{k},0,0,0.0100,,,0,0,0.0000,,") for k in range(12)]
    return "\n".join([HEADER, *lines, ""]).encode()


def test_proassist_table_is_read_completely(tmp_path):
    file = tmp_path / "clip-1" / "frame_predictions.csv"
    file.parent.mkdir()
    file.write_bytes(
        table(
            '2,1,1,0.9000,"Boil, then wait.",Boil the water.,1,1,0.0000,S1->complete,S1->complete;S2->start',
            "5,0,1,0.8000,,,0,1,0.0000,S3->start,",
            "9,0,0,0.1000,,,1,1,0.0000,S2->complete,S2->complete",
        )
    )
    told = []
    (record,), _ = read_imported_predictions(tmp_path, tell=told.append)
    assert (record.episode.id, record.episode.fps, record.episode.num_frames) == ("clip-1", 2, 12)
    assert references(record) == [(2, "Boil the water.")]
    assert [(u.frame, u.text) for u in record.utterances] == [(2, "Boil, then wait.")]
    # the table's reference completes S1 first, so it was in progress before
    assert record.episode.initial_state["S1"] == "in_progress"
    assert record.episode.transitions() == [(2, "S1", "complete"), (2, "S2", "start"), (9, "S2", "complete")]
    assert [(t.frame, t.step) for t in record.transitions] == [(2, "S1")]
    assert [(r.frame, r.step, r.wanted) for r in record.refusals] == [(5, "S3", "start"), (9, "S2", "complete")]
    assert record.speaking_prob[2] == 0.9
    # the DST extension writes 0 if its model has no head
    assert record.update_prob == ()
    assert told == [f"{file}: dst_prob is 0 on every frame and is treated as unknown"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no row"),
        (b"a,b\n1,2\n", "has no column 'frame_idx'"),
        (HEADER.encode() + b"\n0,1\n", "line 2: the number of cells differs from the header line"),
        (HEADER.encode() + b"\nx,0,0,0,,,0,0,0,,\n", "line 2: frame_idx is 'x'; a number is needed"),
        (HEADER.encode() + b"\n0,0,0,high,,,0,0,0,,\n", "line 2: pred_speaking_prob is 'high'"),
        (b"\xff\xfe", "not UTF-8 text"),
        (table("3,0,0,0,,,1,0,0,,S1->pause"), "frame 3: reference update S1->pause; known: start, complete, reopen"),
        (table("3,0,0,0,,,1,0,0,,S1->start", "4,0,0,0,,,1,0,0,,S1->start"), "S1->start at 2 s is illegal"),
    ],
)
def test_proassist_table_damaged_is_one_line(tmp_path, data, message):
    with pytest.raises(DataError) as error:
        read_proassist_result_table(data, tmp_path / "frame_predictions.csv")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_import_evaluation_folder_reads_results(tmp_path):
    folder = tmp_path / "model/eval/wtag/stream/notalk0.5-maxlen_4k"
    (folder / "results").mkdir(parents=True)
    for number in range(2):
        (folder / f"results/{number}.json").write_text(dump_json(stream(output(3, "x", "x"), sample_idx=number)))
    for name in ("all_results.json", "metrics.json", "args.json", "llm_eval_metrics.json"):
        (folder / name).write_text("{}")
    for path in (tmp_path / "model", folder, folder / "results"):
        assert [record.episode.id for record in read_imported_predictions(path)[0]] == ["v.0", "v.1"]


def test_import_empty_folder_names_expected_files(tmp_path):
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(
        DataError, match=r"holds no .json or .jsonl file, no results/\*.json and no frame_predictions.csv"
    ):
        read_imported_predictions(tmp_path)


@pytest.mark.slow
@pytest.mark.integration
def test_score_command_unnamed_dataset_reports_window(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    contents = stream(output(13, "Boil it.", ""), output(8, "", "Boil it."))
    del contents["metadata"]["dataset"]
    (tmp_path / "theirs.json").write_text(json.dumps(contents))

    def f1(name, *options):
        result = CliRunner().invoke(prospect_eval, ["score", "theirs.json", "--output", name, *options])
        assert result.exit_code == 0, result.output
        value = read_json(tmp_path / name / "metrics.json")["metrics"]["matched_f1"]
        return value["value"], "1 of 1 stream name no dataset" in result.output, value["signature"]

    assert f1("plain")[:2] == (1.0, True)
    assert f1("named", "--dataset", "assembly101")[:2] == (0.0, False)
    value, told, signature = f1("window", "--window", "-2.5,0", "--factor", "0.2")
    assert (value, told) == (1.0, False)
    assert "factor:0.2|power:1.5|window:2.5s-0s" in signature


def test_import_predictions_dataset_names_records(tmp_path):
    from prospect_eval.runs.importers import import_predictions

    record = predict(episode(say(5.0)))
    (tmp_path / "theirs.jsonl").write_text(dump_json(record).replace('"dataset":"x"', '"dataset":""') + "\n")
    stored = import_predictions(tmp_path / "theirs.jsonl", tmp_path / "out", [], "", "", "test")
    assert (stored.records, stored.unnamed) == (1, 1)
    named = import_predictions(tmp_path / "theirs.jsonl", tmp_path / "named", [], "", "", "test", "wtag")
    assert named.unnamed == 0
