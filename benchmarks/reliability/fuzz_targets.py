"""Fuzz targets: every reader of external files as a function of bytes.

A target returns, or raises a `UserError`; anything else is a fault. Each target writes its file
into its own folder. ``seeds`` are valid files to start from. `mutate` corrupts them as JSON (a
value replaced, removed, doubled, nested) where they are JSON, otherwise as bytes.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.fuzz_proassist import ROWS, read_whole
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.data.formats.annotation_table import Given, read_annotation_table
from prospect_core.data.formats.proassist import (
    episode_to_proassist_dst,
    episode_to_proassist_row,
    read_proassist_episodes,
)
from prospect_core.data.formats.subtitles import read_subtitle_cues
from prospect_core.data.frame_format import FrameFormat
from prospect_core.data.validate import validate_dataset
from prospect_core.data.video import open_video_frames, write_video_frames_file
from prospect_core.records import SCHEMA, EpisodeRecord, Knobs, PredictedTransition, PredictedUtterance
from prospect_core.stream.proassist_outputs import DST, make_proassist_outputs
from prospect_core.stream.proassist_outputs import RECORD as STORED
from prospect_core.timeline import DialogState, Episode, Event, Step, Task
from prospect_core.util.errors import DataError
from prospect_core.util.file_digest import digest_file
from prospect_core.util.json_io import dump_json
from prospect_eval.analysis.llm_judge import read_judge_verdict
from prospect_eval.gate.gate import read_gate_baseline
from prospect_eval.models.chat import read_chat_answer
from prospect_eval.runs.folder import read_run_folder_records, read_run_folder_timings
from prospect_eval.runs.importers import read_imported_predictions
from prospect_eval.runs.schemas import read_counts_schema, read_metrics_schema, read_run_schema
from prospect_eval.suites.gate_rules import make_gate_rules, read_gate_rules
from prospect_eval.suites.suite import open_suite

FRAMES, SIDE = 12, 32
TASK = Task("make tea", (Step("S1", "boil water"), Step("S2", "pour")), "1. Boil.")
EPISODE = Episode(
    "e1", "videos/v.mp4", 2, 0, FRAMES, TASK,
    (
        Event("u", 0.5, "user", "What now?", question="present", accepted=("boil",)),
        Event("a", 1.0, "assistant", "Boil the water.", labels="responsive|answer", slots={"step": "boil"}),
        Event("d", 2.0, "transition", step="S1", change="start"),
        Event("b", 4.5, "assistant", "Pour it.", progress="The water boils."),
    ),
    DialogState(("S1", "S2"), ("not_started", "completed"), (("S2", 0.0),)), "talk", "kitchen", summary="Done.",
    meta={"level": "easy"},
).validate()  # fmt: skip
RECORD = EpisodeRecord(
    SCHEMA, "m", Knobs("drop_all", 300), EPISODE, (0.1,) * FRAMES, (0.2,) * FRAMES,
    (((0.5, 0.25, 0.25),) * 2,) * FRAMES, cache_tokens=(9,) * FRAMES, cache_bytes=(90,) * FRAMES,
    transitions=(PredictedTransition(4, "S1", "start"),), utterances=(PredictedUtterance(2, "Boil it."),),
)  # fmt: skip
ENTRY = {"value": 0.5, "ci95": [0.4, 0.6], "signature": "s:1", "reason": None, "status": "ok"}
CONFIG = {"model": "m", "model_digest": "d", "data": "d", "data_digest": "d", "split": "test", "limit": None,
          "knobs": {"strategy": "none", "budget": None, "speaking_threshold": 0.5, "update_threshold": 0.5,
                    "cache_dtype": "model"},
          "code": "c", "thresholds_from": "", "suite": ""}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A reader and its valid inputs.

    Attributes:
        read: Called as ``read(folder, data)``.
        seeds: Returns the valid inputs to start from.
    """

    read: Callable[[Path, bytes], Any]
    seeds: Callable[[], list[bytes]]


def _file(name: str, read: Callable[[Path], Any]) -> Callable[[Path, bytes], Any]:
    def go(folder: Path, data: bytes) -> Any:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return read(file)

    return go


def _rows(folder: Path, data: bytes) -> None:
    """Check that a split gives one episode per row, or an error that names a row."""
    (folder / "test.jsonl").write_bytes(data)
    digest = digest_file(folder / "test.jsonl")
    info = {"schema": 1, "name": "n", "version": "1", "fps": 2, "videos": {},
            "splits": {"test": {"file": "test.jsonl", "episodes": 1, "sha256": digest}}}  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(info))
    read = list(Dataset.open(folder).episodes("test"))
    assert len(read) == sum(bool(line.strip()) for line in data.split(b"\n")), "rows were lost"
    for episode in read:
        episode.decisions(), episode.utterances(), episode.state_at(episode.end_frame)


def _dataset(folder: Path, data: bytes) -> None:
    (folder / "test.jsonl").write_text(dump_json(EPISODE) + "\n")
    (folder / "dataset.json").write_bytes(data)
    dataset = Dataset.open(folder)
    for split in dataset.splits:
        list(dataset.episodes(split))
    validate_dataset(dataset)


def _records(folder: Path, data: bytes) -> None:
    (folder / "episodes").mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"config": CONFIG, "environment": {}}))
    (folder / "episodes" / "e1.json").write_bytes(data)
    for record in read_run_folder_records(folder)[1]:
        record.problems()


def _run_file(folder: Path, data: bytes) -> None:
    (folder / "episodes").mkdir(exist_ok=True)
    (folder / "episodes" / "e1.json").write_text(dump_json(RECORD))
    (folder / "run.json").write_bytes(data)
    read_run_schema(folder)
    read_run_folder_records(folder)


def _video(name: str) -> Callable[[Path, bytes], Any]:
    def read(file: Path) -> None:
        source = open_video_frames(file, 2, FrameFormat(SIDE))
        for picture in source.frames(0, min(source.num_frames, 40)):
            assert picture.shape == (SIDE, SIDE, 3)

    return _file(name, read)


def _annotation(name: str) -> Callable[[Path, bytes], Any]:
    """Check that every row or cue of a table or subtitles is used, left out or refused.

    Several refused rows are an error of one line each.
    """

    def read(folder: Path, data: bytes) -> None:
        clip = folder.parent / "clip.mp4"
        if not clip.is_file():
            clip.write_bytes(_video_seeds()[0])
        file = folder / name
        file.write_bytes(data)
        try:
            found = read_annotation_table(file, Given(video=clip, users=("Ana",), skip=True))
        except DataError as error:
            raise DataError(str(error).splitlines()[0] if str(error) else "") from error
        reading, events = found.reading, found.episode.events
        assert len(events) == len(reading.events), "events were lost"
        used = {event.id for event in reading.events} | set(reading.wordings)
        steps = reading.left_out + len(reading.refused)
        assert len(used) + steps == reading.items, "items were lost"

    return read


def _cues(suffix: str) -> Callable[[Path, bytes], Any]:
    """Check that every line with times is a cue or a refused line."""

    def read(folder: Path, data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        try:
            found = read_subtitle_cues(text, suffix)
        except ValueError as error:
            raise DataError(str(error)) from error
        places = [cue.line for cue in found.cues]
        places += [int(line.split(":")[0].removeprefix("line ")) for line in found.refused]
        lines = re.split(r"\r\n|\n|\r", text)
        arrows = [number for number, line in enumerate(lines, 1) if "-->" in line]
        assert set(arrows) <= set(places), "cues were lost"
        assert len(set(places)) == len(places), "a line counts twice"
        words = [" ".join(voiced.lines) for cue in found.cues for voiced in cue.said]
        assert all(words), "a turn has no words"

    return read


def _nothing_lost(file: Path) -> None:
    """Check that predictions hold as many utterances, references, user texts and updates as the file."""
    reported: list[str] = []
    for record in read_imported_predictions(file, tell=reported.append)[0]:
        texts, updates = _in_file(file)
        events = [event.kind for event in record.episode.events]
        heard = " ".join(event.text for event in record.episode.events if event.kind == "user")
        assert len(record.utterances) == sum(map(bool, texts["gen"])), "utterances were lost"
        assert events.count("assistant") == sum(map(bool, texts["ref"])), "references were lost"
        assert heard.split() == " ".join(texts["user"]).split(), "user texts were lost"
        assert updates == len(record.transitions) + len(record.refusals) or reported, "updates were lost"


def _in_file(file: Path) -> tuple[dict[str, list[str]], int]:
    """Return the texts of a result file or a frame table, and the number of its predicted updates."""
    if file.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(file.read_bytes().decode("utf-8-sig"), newline="")))
        texts = {
            key: [row[name].strip() for row in rows] for key, name in (("gen", "pred_response"), ("ref", "gt_response"))
        }
        texts["user"] = []
        return texts, _updates(row.get("pred_dst_updates", "") for row in rows)
    contents = json.loads(file.read_bytes())
    frames = sorted(contents["predictions"], key=lambda frame: frame["frame_idx_in_stream"])
    more = {one["frame_idx_in_stream"]: one for one in contents.get(DST) or ()}
    frames = [{**more.get(frame["frame_idx_in_stream"], {}), **frame} for frame in frames]
    texts = {key: [(frame[key] or "").strip() for frame in frames] for key in ("gen", "ref")}
    asked = [text for frame in frames for role, text in frame.get("text_inputs") or () if role == "user"]
    return {**texts, "user": asked}, _updates(frame.get("dst_update") for frame in frames)


def _updates(cells: Iterable[Any]) -> int:
    """Count the updates, and the other texts in the same cells: each must be read or reported."""
    count = 0
    for cell in cells:
        text = cell if isinstance(cell, str) else ""
        found = re.findall(r"[^\s;,]+?\s*->\s*\w+", text)
        rest = re.sub(r"[^\s;,]+?\s*->\s*\w+", " ", text).strip(" ;,\t\r\n\v\f")
        count += len(found) + bool(rest)
    return count


def _table_seeds() -> list[bytes]:
    head = "frame_idx,gt_speaking,pred_speaking,pred_speaking_prob,pred_response,gt_response,gt_dst_update,"
    rows = ["0,0,0,0.1,,,0,0,0.2,,", '1,1,1,0.9,"Boil, it.",Boil.,1,1,0.8,S1->start,S1->start',
            "2,0,1,0.7,Good.,,1,1,0.9,S1->complete;S2->start,S1->complete"]  # fmt: skip
    return [("\n".join([head + "pred_dst_update,pred_dst_prob,pred_dst_updates,gt_dst_updates", *rows, ""])).encode()]


def _result_seeds() -> list[bytes]:
    """Return an exported result file, and the same without the record that it was exported from."""
    contents = json.loads(dump_json(make_proassist_outputs(RECORD, 0)))
    return _json(contents, {key: value for key, value in contents.items() if key != STORED})()


def _baseline(file: Path) -> None:
    make_gate_rules(read_gate_baseline(file)["rules"], "rules")


def _video_seeds(kind: str = "mp4") -> list[bytes]:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream("libx264", rate=2, options={"crf": "40"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = Fraction(1, 2)
        for k in range(6):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * k, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return [buffer.getvalue()]


def _arrow_seeds() -> list[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "f.arrow"
        write_video_frames_file(file, iter([np.full((16, 16, 3), 90, np.uint8)] * 3))
        return [file.read_bytes()]


def _dataset_seeds() -> list[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return [(write_dataset(Path(folder), "n", "1", 2, {"test": [EPISODE]}).root / "dataset.json").read_bytes()]


def _json(*values: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(value).encode() for value in values]


def _json_lines(rows: list[dict[str, Any]]) -> Callable[[], list[bytes]]:
    return lambda: [b"\n".join(json.dumps(row).encode() for row in rows)]


_PROASSIST = {"predictions": [{"frame_idx_in_stream": k, "gen": "Boil." if k == 3 else "", "ref": "Boil." if k == 4 else "",
                               "text_inputs": [["user", "hi"]] if k == 1 else []} for k in range(6)],
              "metadata": {"fps": 2, "video_uid": "v", "task_goal": "tea", "model": "m"}}  # fmt: skip
_TABLE = {"schema": 1, "episodes": {"scored": 1, "failed": 0}, "predictions_digest": "d", "metrics": {"dst_jga": ENTRY},
          "baselines": {"oracle": {"dst_jga": ENTRY}}}  # fmt: skip
_BASELINE = {"schema": 2, "provenance": {"config": CONFIG}, "rules": {"metrics": {"dst_jga": {"margin": 0.02}}},
             "episodes": {"scored": 1, "failed": 0}, "exact": {}, "metrics": {"dst_jga": ENTRY},
             "clusters": {"e": "v"}, "counts": {"dst_jga": {"e": [1, 2]}}}  # fmt: skip

_TABLE_TEXT = (
    b"# video: clip.mp4\n# goal: make tea\n# step S1: boil\ntime\tkind\twhat\n0:00.5\tstart\tS1\n1\tcomplete\tS1\n"
    b'1.5\tsay\t"Pour ""it"", now"\n1.5\tor\tPour it.\n2\tuser\tWhat?\n'
)
_LEVELS_TEXT = b"type\tid\tstart_ts\tend_ts\tname\nSTEP\t1\t0\t1\tboil\nSUBSTEP\t1.1\t0\t1\tfill\nSTEP\t2\t1\t2\tpour\n"
_SRT_TEXT = (
    b"1\n00:00:00,500 --> 00:00:01,000\nUser: what &amp; now?\n\n2\n00:00:01,000 --> 00:00:02,000 X1:1\n<i>Pour</i> it\n"
    b"[Ana]: yes\n\n00:00:02 --> 00:00:03\n3 < 4\n"
)
_VTT_TEXT = (
    b"WEBVTT - x\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\nNOTE a\n\nid\n00:00.500 --> 00:01.000 align:start\n<v Ana>what?\n"
    b"\n00:00:01,000 --> 00:02\n<v User>a<v Assistant>b &lt; c\n"
)

TARGETS: dict[str, Target] = {
    "rows": Target(_rows, lambda: [(dump_json(EPISODE) + "\n" + dump_json(replace(EPISODE, id="e2")) + "\n").encode()]),
    "dataset": Target(_dataset, _dataset_seeds),
    "prepared": Target(_file("rows.jsonl", read_proassist_episodes), _json(episode_to_proassist_row(EPISODE))),
    "clip": Target(_file("clip.json", read_proassist_episodes), _json([episode_to_proassist_dst(EPISODE)])),
    **{
        name: Target(_file("rows.jsonl" if name == "training rows" else "clips.json", read_whole), _json_lines(rows))
        for name, rows in ROWS.items()
    },
    "predictions": Target(_file("p.json", read_imported_predictions), lambda: [dump_json(RECORD).encode(), *_json(_PROASSIST)()]),
    "prediction rows": Target(_file("p.jsonl", read_imported_predictions), lambda: [dump_json(RECORD).encode()]),
    "result file": Target(_file("0.json", read_imported_predictions), _result_seeds),
    "result file, nothing lost": Target(_file("0.json", _nothing_lost), lambda: [*_json(_PROASSIST)(), _result_seeds()[1]]),
    "frame table": Target(_file("clip/frame_predictions.csv", _nothing_lost), _table_seeds),
    "records": Target(_records, lambda: [dump_json(RECORD).encode()]),
    "run.json": Target(_run_file, _json({"config": CONFIG, "environment": {}})),
    "timings": Target(_file("timings.json", lambda f: read_run_folder_timings(f.parent)), _json({"episodes": {"e": {"seconds": 1}}})),
    "metrics": Target(_file("metrics.json", lambda f: read_metrics_schema(f.parent)), _json(_TABLE)),
    "counts": Target(
        _file("counts.json", lambda f: read_counts_schema(f.parent)),
        _json({"schema": 2, "clusters": {"e": "v"}, "failed": [], "counts": {"dst_jga": {"e": [1, 2]}}}),
    ),
    "baseline": Target(_file("b.json", _baseline), _json(_BASELINE)),
    "rules": Target(
        lambda _, data: read_gate_rules(data.decode("utf-8", "replace"), "rules"),
        lambda: [b"strict: false\nexact: [schema]\nmetrics:\n  dst_jga: {margin: 0.02, direction: higher}\n"],
    ),
    "suite": Target(
        _file("s.yaml", lambda f: open_suite(str(f))),
        lambda: [b"data: d\nsplit: test\nstrategies: [none, drop_all]\nbudgets: [0.5]\nmetrics: [dst_jga]\n"
                 b"gate: {metrics: {dst_jga: {margin: 0.02}}}\n"],
    ),
    "judge": Target(
        lambda _, data: read_judge_verdict(data.decode("utf-8", "replace")),
        _json({"correctness": 3, "promptness": 2, "efficiency": 4, "overall": 3}),
    ),
    "answer": Target(lambda _, data: read_chat_answer(data.decode("utf-8", "replace")), lambda: [b"S1->start; Boil it."]),
    "table": Target(_annotation("a.tsv"), lambda: [_TABLE_TEXT, _TABLE_TEXT.decode().encode("utf-16")]),
    "spreadsheet": Target(_annotation("a.csv"), lambda: [_TABLE_TEXT.replace(b"\t", b","), _TABLE_TEXT.replace(b"\t", b";")]),
    "levels": Target(_annotation("l.tsv"), lambda: [_LEVELS_TEXT]),
    "subtitles": Target(_annotation("a.srt"), lambda: [_SRT_TEXT]),
    "web subtitles": Target(_annotation("a.vtt"), lambda: [_VTT_TEXT]),
    "cues": Target(_cues(".srt"), lambda: [_SRT_TEXT]),
    "web cues": Target(_cues(".vtt"), lambda: [_VTT_TEXT]),
    "transport stream": Target(_video("v.ts"), lambda: [part + part for part in _video_seeds("mpegts")]),
    "video": Target(_video("v.mp4"), _video_seeds),
    "stored frames": Target(_video("v.arrow"), _arrow_seeds),
}  # fmt: skip

#: values that often break readers
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, 1e-320, "", "x", "\x00", "\ud800",
    "../../etc/passwd", "/etc/passwd", "<script>", "\x1b[31m", "NaN", [], {}, [[]], {"": {}}, "S1", "start", "a" * 5000,
)  # fmt: skip


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Corrupt the bytes one to four times."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        lines = data.split(b"\n")
        number = rng.randrange(len(lines))
        try:
            value = json.loads(lines[number])
        except (ValueError, RecursionError):
            value = None
        if value is None or rng.random() < 0.2:
            data = _damaged(rng, data)
        else:
            lines[number] = json.dumps(_changed(rng, value)).encode()
            data = b"\n".join(lines)
    return data


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) in a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *_places(value[key])]]


def _changed(rng: random.Random, value: Any) -> Any:
    places = _places(value)
    if not places:
        return rng.choice(ODD)
    container, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.5:
        container[key] = rng.choice(ODD)
    elif kind < 0.65:
        del container[key]
    elif kind < 0.8:
        other, at = rng.choice(places)
        container[key] = json.loads(json.dumps(other.get(at) if isinstance(other, dict) else (other[at:] or [None])[0]))
    elif isinstance(container, list):
        container.insert(key, rng.choice((container[key], *ODD)))
    else:
        container[rng.choice((f"{key}x", "", "new"))] = rng.choice(ODD)
    return value


def _damaged(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((1, 1, 2, 8, 64)))
    kind = rng.randrange(6)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[end:]
    if kind == 2:
        return data[:at] + rng.randbytes(end - at) + data[end:]
    if kind == 3:
        return data[:end] + data[at:]
    if kind == 4:
        odd = rng.choice(
            (
                b"\xff\xfe",
                b"\x00",
                b"NaN",
                b"1e999",
                b"[" * 3000,
                b'{"a":' * 2000,
                b"\\ud800",
                b"\n",
                b"&a [*a]",
                b"!!python/name:os.system",
            )
        )
        return data[:at] + odd + data[end:]
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :] if at < len(data) else data
