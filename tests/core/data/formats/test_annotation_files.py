"""Folders of annotations: each file is an episode of its own video, or a message reports why it was
not read.
"""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prospect_core.data.dataset import Dataset
from prospect_core.data.formats.annotation_table import Given, read_annotation_table
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json
from tests.helpers.annotations import TABLE
from tests.helpers.commands import one_line, run_cli
from tests.helpers.media import write_grey

SRT = "1\n00:00:01,000 --> 00:00:02,000\nPour it into the cup.\n"
HALF_SECONDS = [Fraction(k, 2) for k in range(20)]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "f").mkdir()
    return tmp_path / "f"


def video(path, seconds=10):
    return write_grey(path, HALF_SECONDS[: 2 * seconds], [10 * k for k in range(2 * seconds)])


def episodes(root):
    return {episode.id: episode for episode in Dataset.open(root).episodes("test")}


def test_import_folder_of_subtitles_uses_video_of_same_name(folder, tmp_path, capsys):
    video(folder / "a.mp4")
    video(folder / "b.MP4", 6)
    (folder / "a.en.srt").write_text(SRT)
    (folder / "b.srt").write_text(SRT)
    assert run_cli("data", "import", folder, "--output", tmp_path / "set") == 0
    found = episodes(tmp_path / "set")
    assert {name: (e.video, e.end_frame) for name, e in found.items()} == {
        "a.en": ("videos/a.mp4", 20),
        "b": ("videos/b.MP4", 12),
    }
    assert "read 1 cue: 1 event" in capsys.readouterr().out


def test_import_one_video_for_several_files_is_refused(folder, tmp_path, capsys):
    clip = video(folder / "a.mp4")
    for name in ("a.srt", "b.srt"):
        (folder / name).write_text(SRT)
    assert run_cli("data", "import", folder, "--video", clip, "--output", tmp_path / "set") == 2
    assert "is for a single annotation, but there are 2" in one_line(capsys)
    assert run_cli("data", "import", folder, "--output", tmp_path / "set") == 2
    assert "b.srt: names no video, and its folder has no video b.mp4" in one_line(capsys)


def test_read_annotation_table_two_videos_of_one_name_raise(folder):
    video(folder / "a.mp4")
    video(folder / "a.mkv")
    (folder / "a.srt").write_text(SRT)
    with pytest.raises(UserError, match=r"2 videos have the annotation's name \(a.mkv, a.mp4\)"):
        read_annotation_table(folder / "a.srt")


def test_import_two_annotations_of_one_id_is_refused(folder, tmp_path, capsys):
    video(folder / "clip.mp4")
    (folder / "a.tsv").write_text(TABLE)
    (folder / "a.srt").write_text(SRT)
    assert run_cli("data", "import", folder, "--output", tmp_path / "set") == 2
    assert "a.srt and" in (said := one_line(capsys))
    assert "a.tsv: both are episode 'a'" in said
    assert not (tmp_path / "set").exists()


def test_import_rows_of_one_id_is_refused(folder, tmp_path, capsys, world):
    data = tmp_path / "rows"
    assert run_cli("data", "export", world.root, "--output", data) == 0
    row = (data / "test.jsonl").read_text().splitlines()[0]
    (folder / "rows.jsonl").write_text(f"{row}\n\n{row}\n")
    capsys.readouterr()
    assert run_cli("data", "import", folder / "rows.jsonl", "--output", tmp_path / "set") == 2
    assert "rows.jsonl: row 1 and" in one_line(capsys)


def test_import_rows_with_byte_order_mark_are_read(tmp_path, world):
    assert run_cli("data", "export", world.root, "--output", tmp_path / "rows") == 0
    for split in world.splits:
        file = tmp_path / "rows" / f"{split}.jsonl"
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert run_cli("data", "import", tmp_path / "rows", "--output", tmp_path / "set") == 0
    assert [e.id for e in Dataset.open(tmp_path / "set").episodes("test")] == [e.id for e in world.episodes("test")]


def test_import_capital_suffixes_and_hidden_files(folder, tmp_path, capsys):
    video(folder / "clip.mp4")
    video(folder / "spare.mp4")
    (folder / "a.tsv").write_text(TABLE)
    (folder / "B.TSV").write_text(TABLE)
    (folder / "._a.tsv").write_bytes(b"\0\5\x16\7")
    (folder / "notes.txt").write_text("x")
    assert run_cli("data", "import", folder, "--output", tmp_path / "set") == 0
    assert sorted(episodes(tmp_path / "set")) == ["B", "a"]
    said = capsys.readouterr().out
    assert "2 other files left out: ._a.tsv, notes.txt" in said
    assert "1 video without an annotation: spare.mp4" in said


def test_read_annotation_table_utf_16_is_read(folder):
    video(folder / "clip.mp4")
    (folder / "a.tsv").write_bytes(TABLE.replace("\n", "\r\n").encode("utf-16"))
    (folder / "b.tsv").write_text(TABLE)
    wide, plain = (read_annotation_table(folder / name).episode for name in ("a.tsv", "b.tsv"))
    assert dump_json(wide) == dump_json(plain).replace('"id":"b"', '"id":"a"')
    (folder / "c.tsv").write_bytes(TABLE.replace("slowly", "lentement, déjà").encode("latin-1"))
    with pytest.raises(DataError, match=r"c\.tsv: line 9: not UTF-8 text; save it as UTF-8"):
        read_annotation_table(folder / "c.tsv")


def test_read_annotation_table_extra_columns_are_reported(folder):
    video(folder / "clip.mp4")
    (folder / "a.tsv").write_text("# video: clip.mp4\ntime\tkind\twhat\tnotes\n0:01\tsay\tGood\tunsure, ask Ana\n")
    read = read_annotation_table(folder / "a.tsv")
    assert [event.text for event in read.episode.events] == ["Good"]
    assert read.reading.notes == ["columns notes were ignored"]


def test_read_annotation_table_misspelled_column_suggests_name(folder):
    video(folder / "clip.mp4")
    (folder / "a.tsv").write_text("# video: clip.mp4\ntiem\tkind\twhat\n0:01\tsay\tGood\n")
    with pytest.raises(DataError, match="did you mean 'time'"):
        read_annotation_table(folder / "a.tsv")


def test_import_refused_cues_stop_or_are_counted(folder, tmp_path, capsys):
    video(folder / "a.mp4")
    bad = SRT + "\n2\n00:00:03,000 -> 00:00:04,000\nlost\n\n3\n00:01:00,000 --> 00:01:01,000\ntoo late\n"
    (folder / "a.srt").write_text(bad)
    assert run_cli("data", "import", folder, "--output", tmp_path / "set") == 3
    assert "line 6: cue 2: '00:00:03,000 -> 00:00:04,000' is not a timing line" in (said := one_line(capsys))
    assert "(read 3 cues: 2 events, 1 refused; fix the file" in said
    assert not (tmp_path / "set").exists()
    assert run_cli("data", "import", folder, "--output", tmp_path / "set", "--on-error", "skip") == 0
    said = capsys.readouterr().out
    assert "read 3 cues: 1 event, 2 refused (line 6: cue 2: " in said
    assert "line 10: cue 3: 60 s is after the end of the video, 10 s" in said
    assert [e.text for e in episodes(tmp_path / "set")["a"].events] == ["Pour it into the cup."]


def test_import_all_bad_files_are_reported(folder, tmp_path, capsys):
    video(folder / "clip.mp4")
    for name in ("a.tsv", "b.tsv"):
        (folder / name).write_text(TABLE.replace("\tuser", "\tusr"))
    assert run_cli("data", "import", folder, "--output", tmp_path / "set") == 3
    assert [line.rpartition("/")[2].split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "a.tsv",
        "b.tsv",
    ]


ROWS = st.sampled_from(
    ["0:01\tstart\tS1", "0:02\tcomplete\tS1", "0:03\tsay\tGo", "0:03\tor\tDo", "later\tsay\tx", "0:04\tuser\tWhat?",
     "9:00\tsay\tlate", "9:00\tor\tlater", "0:05\treopen\tS1", "0:01\tstart\tS9", "0:03\tsay\t", "x", "0:10\tsay\tEnd"]
)  # fmt: skip
CUES = st.sampled_from(
    ["00:00:01,000 --> 00:00:02,000\nGo", "00:00:02,000 -> 00:00:03,000\nx", "00:05:00,000 --> 00:05:01,000\nlate",
     "00:00:01,000 --> 00:00:02,000\n<v A>x", "00:00:04 --> 00:00:05\nUser: x\nAssistant: y", "00:00:04,0 --> 00:00:05,0\n"]
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, max_size=12), st.lists(CUES, min_size=1, max_size=8))
def test_read_annotation_table_events_plus_refused_equal_items(folder, rows, cues):
    clip = folder / "clip.mp4"
    if not clip.exists():
        video(clip)
    (folder / "a.tsv").write_text("# step S1: boil\ntime\tkind\twhat\n" + "".join(row + "\n" for row in rows))
    read = read_annotation_table(folder / "a.tsv", Given(video=clip, skip=True))
    reading = read.reading
    assert len(read.episode.events) + len(reading.wordings) + len(reading.refused) == reading.items == len(rows)
    assert sum(len(event.alternatives) for event in read.episode.events) == len(reading.wordings)
    (folder / "a.srt").write_text("\n\n".join(cues))
    reading = read_annotation_table(folder / "a.srt", Given(video=clip, skip=True)).reading
    of_cues = {event.id for event in reading.events}
    assert len(of_cues) + len(reading.refused) == reading.items == len(cues)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_read_annotation_table_rows_are_steps_or_counted(folder, seed):
    clip = folder / "clip.mp4"
    if not clip.exists():
        video(clip)
    rng = random.Random(seed)
    kinds = ["step", *rng.choices(["step", "SUBSTEP", "action", "stpe"], k=6)]
    lines = [f"{kind}\t{k}\t{rng.randrange(9)}\t{rng.choice(['9', 'x'])}\tname {k}" for k, kind in enumerate(kinds)]
    lines[0] = "step\t0\t1\t2\tname"
    (folder / "a.tsv").write_text("\n".join(["type\tid\tstart_ts\tend_ts\tname", *lines]) + "\n")
    read = read_annotation_table(folder / "a.tsv", Given(video=clip, skip=True))
    reading = read.reading
    assert len(read.episode.events) == 2 * (reading.items - reading.left_out - len(reading.refused))
    assert reading.items == len(lines)
