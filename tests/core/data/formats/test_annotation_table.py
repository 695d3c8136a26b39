"""Annotations by hand: tables, subtitles, ProAssist's three levels; errors name the line."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.cli.commands import prospect
from prospect_core.data.dataset import Dataset
from prospect_core.data.formats.annotation_rows import parse_annotation_row_time
from prospect_core.data.formats.annotation_table import Given, read_annotation_table
from prospect_core.util.errors import DataError
from tests.helpers.annotations import TABLE
from tests.helpers.commands import call, evaluate, one_line
from tests.helpers.media import write_grey


@pytest.fixture
def clip(tmp_path):
    return write_grey(tmp_path / "clip.mp4", [Fraction(k, 2) for k in range(20)], list(range(0, 200, 10)))


def annotated(clip, text, name="clip.tsv"):
    file = clip.with_name(name)
    file.write_text(text)
    return file


def test_read_annotation_table_gives_episode(clip):
    read = read_annotation_table(annotated(clip, TABLE))
    episode, video = read.episode, read.video
    assert video == clip
    assert (episode.task.goal, episode.fps, episode.user_type) == ("make tea", 2.0, "talk_some")
    assert [(s.id, s.name) for s in episode.task.steps] == [("S1", "boil the water"), ("S2", "pour it")]
    assert [(e.time, e.kind, e.step or e.text) for e in episode.events] == [
        (2.0, "transition", "S1"),
        (4.5, "transition", "S1"),
        (5.0, "assistant", 'Now pour it, "slowly": please.'),
        (6.0, "user", "What is left?"),
        (6.5, "assistant", "Only the pouring."),
    ]
    assert episode.state_at(9)["S1"] == "completed"


def test_read_annotation_table_rows_in_any_order(clip):
    lines = TABLE.splitlines()
    mixed = "\n".join([*lines[:6], *reversed(lines[6:])])
    assert (
        read_annotation_table(annotated(clip, mixed, "b.tsv")).episode.events
        == read_annotation_table(annotated(clip, TABLE)).episode.events
    )


def test_read_annotation_table_accepts_commas(clip):
    text = TABLE.replace('\tNow pour it, "slowly": please.', '\t"Now pour it, ""slowly"": please."').replace("\t", ",")
    table = read_annotation_table(annotated(clip, TABLE)).episode
    other = read_annotation_table(annotated(clip, text, "clip.csv")).episode
    assert other.events == table.events


def test_read_annotation_table_subtitles_are_turns(clip):
    vtt = "WEBVTT\n\n00:00:02.000 --> 00:00:03.000\n<v User>What now?\n\n00:00:02.500 --> 00:00:04.000\nPour it\nslowly.\n"
    srt = "1\n00:00:02,000 --> 00:00:03,000\nUser: What now?\n\n2\n00:00:02,500 --> 00:00:04,000\nAssistant: Pour it\nslowly.\n"
    for name, text in (("talk.vtt", vtt), ("talk.srt", srt)):
        episode = read_annotation_table(annotated(clip, text, name), Given(video=clip, goal="make tea")).episode
        assert [(e.time, e.kind, e.text) for e in episode.events] == [
            (2.0, "user", "What now?"),
            (2.5, "assistant", "Pour it slowly."),
        ]
        assert episode.task.goal == "make tea"


def test_read_annotation_table_or_adds_wording(clip):
    text = TABLE.rstrip("\n") + "\n0:06.5\tor\tPour it, that is all.\n0:06.5\tor\tNow pour.\n"
    episode = read_annotation_table(annotated(clip, text)).episode
    last = episode.utterances()[-1]
    assert last.wordings == ("Only the pouring.", "Pour it, that is all.", "Now pour.")
    assert len(episode.events) == len(read_annotation_table(annotated(clip, TABLE, "b.tsv")).episode.events)


@pytest.mark.parametrize("row", ["0:07\tor\tAt another time.", "0:06\tor\tOf what the user says."])
def test_read_annotation_table_or_without_turn_raises(clip, row):
    lines = TABLE.rstrip("\n").splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("0:06\tuser")) + 1
    lines.insert(at, row)
    with pytest.raises(DataError, match=rf"line {at + 1}: an `or` line needs a `say` or `or` line"):
        read_annotation_table(annotated(clip, "\n".join(lines)))


LEVELS = """\
type\tid\tstart_ts\tend_ts\tname
STEP\t1\t1.0\t4.0\tboil the water
SUBSTEP\t1.1\t1.0\t2.0\tfill the kettle
ACTION\t1.1.1\t1.0\t1.5\ttake the kettle
SUBSTEP\t1.2\t2.0\t4.0\tswitch it on
STEP\t2\t4.0\t6.0\tpour it
"""


def test_read_annotation_table_one_level_gives_steps(clip):
    file = annotated(clip, LEVELS)
    episode = read_annotation_table(file, Given(video=clip)).episode
    assert [(s.id, s.name) for s in episode.task.steps] == [("S1", "boil the water"), ("S2", "pour it")]
    assert [(e.time, e.step, e.change) for e in episode.events] == [
        (1.0, "S1", "start"),
        (4.0, "S1", "complete"),
        (4.0, "S2", "start"),
        (6.0, "S2", "complete"),
    ]
    episode = read_annotation_table(file, Given(video=clip, level="substep")).episode
    assert [s.id for s in episode.task.steps] == ["S1.1", "S1.2"]
    named = LEVELS.replace("\t1\t", "\tS1\t")
    assert read_annotation_table(annotated(clip, named, "c.tsv"), Given(video=clip)).episode.task.step_ids == (
        "S1",
        "S2",
    )
    headless = read_annotation_table(annotated(clip, LEVELS.split("\n", 1)[1], "b.tsv"), Given(video=clip)).episode
    assert len(headless.task.steps) == 2


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("0:02\tstart\tS1", "later\tstart\tS1", "line 7: 'later' is not a time; write seconds or h:mm:ss"),
        ("0:02\tstart\tS1", "0:02\tstrat\tS1", "line 7: kind 'strat' is unknown: use .*; did you mean 'start'"),
        ("0:02\tstart\tS1", "0:02\tstart", r"line 7: has 2 column\(s\); use time, kind, what, separated by tabs"),
        ("0:02\tstart\tS1", "0:02 start S1", r"line 7: has 1 column\(s\); use time, kind, what, separated by tabs"),
        ("0:02\tstart\tS1", "0:02\tstart\t ", "line 7: the column `what` is empty"),
        ("0:02\tstart\tS1", "0:02\tstart\tS9", "line 7: S9->start at 2 s is illegal: S9 is not a step of this task"),
        ("0:02\tstart\tS1\n", "", "line 7: S1->complete at 4.5 s is illegal: S1 is not_started"),
        ("0:06\tuser", "0:45\tuser", "line 10: 45 s is after the end of the video, 10 s"),
        ("time\tkind\twhat", "when\tkind\twhat", "line 6: columns when, kind, what; use time, kind, what"),
        ("# video: clip.mp4", "# video: gone.mp4", "gone.mp4: no such file"),
        ("0:06\tuser\tWhat", "0:06\tuser\tWh\x00at", r"line 10: holds a control character \(\\x00\); remove it"),
        ("# goal", "# fps: 99\n# goal", "fps '99': use 0.1 to 60"),
    ],
)
def test_read_annotation_table_error_names_line(clip, old, new, line):
    with pytest.raises(DataError, match=line):
        read_annotation_table(annotated(clip, TABLE.replace(old, new)))


def test_read_annotation_table_all_errors_are_reported(clip):
    rows = TABLE.replace("0:02\tstart", "later\tstart").replace("0:06\tuser", "0:06\tusr")
    with pytest.raises(DataError) as told:
        read_annotation_table(annotated(clip, rows))
    assert [line.split(": ")[1] for line in str(told.value).splitlines()[:-1]] == ["line 7", "line 10"]
    assert "read 5 rows: 3 events, 2 refused" in str(told.value).splitlines()[-1]
    late = TABLE.replace("0:02\tstart\tS1", "0:02\tstart\tS9").replace("0:06\tuser", "0:45\tuser")
    with pytest.raises(DataError) as told:
        read_annotation_table(annotated(clip, late))
    assert [line.split(": ")[1] for line in str(told.value).splitlines()[:-1]] == ["line 7", "line 8", "line 10"]
    with pytest.raises(DataError, match=r"and 5 more\n"):
        read_annotation_table(annotated(clip, TABLE + "0:07\tsya\tyes\n" * 25))


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_parse_annotation_row_time_is_exact(hours, minutes, whole, thousandths):
    for point in ".,":
        text = f"{hours}:{minutes:02}:{whole:02}{point}{thousandths:03}"
        assert parse_annotation_row_time(text) == pytest.approx(
            3600 * hours + 60 * minutes + whole + thousandths / 1000, abs=1e-6
        )


@pytest.mark.slow
@pytest.mark.integration
def test_commands_from_video_to_score(clip, tmp_path, capsys):
    """The first steps of a user with a video of their own."""
    assert call(prospect, "data", "new", clip) == 0
    file = tmp_path / "clip.tsv"
    assert f"prospect data check {file}" in capsys.readouterr().out
    assert "# the video lasts 0:1" in file.read_text()
    assert call(prospect, "data", "new", clip) == 2
    assert "already exists" in one_line(capsys)
    # the written template is a valid annotation, but its example times exceed this short video
    short = file.read_text().replace("0:10", "0:05").replace("0:11", "0:06").replace("0:15", "0:07")
    file.write_text(short)
    assert call(prospect, "data", "check", file) == 0
    assert "S1->start" in capsys.readouterr().out
    page = tmp_path / "clip.html"
    assert call(prospect, "data", "check", file, "--html", page) == 0
    assert "data:image/jpeg" in page.read_text()
    assert "What is left?" in page.read_text()
    capsys.readouterr()
    data = tmp_path / "mine"
    assert call(prospect, "data", "import", file, "--output", data) == 0
    assert call(prospect, "data", "validate", data) == 0
    assert evaluate("run", "--ckpt", "baseline:oracle", "--data", data, "--output", tmp_path / "run") == 0


def test_import_folder_of_annotations_is_one_split(clip, tmp_path, capsys):
    annotated(clip, TABLE)
    annotated(clip, TABLE.replace("make tea", "make coffee"), "again.tsv")
    assert call(prospect, "data", "import", tmp_path, "--output", tmp_path / "set", "--split", "val") == 0
    assert "2 episodes in split 'val'" in capsys.readouterr().out
    assert {e.task.goal for e in Dataset.open(tmp_path / "set").episodes("val")} == {"make tea", "make coffee"}
    assert len(list((tmp_path / "set" / "videos").iterdir())) == 1


def test_read_annotation_table_no_rows_or_cues_raises(clip):
    for name, text in (("a.vtt", "hello"), ("a.tsv", "# video: clip.mp4\n"), ("a.csv", "")):
        with pytest.raises(DataError, match=name):
            read_annotation_table(annotated(clip, text, name), Given(video=clip))
