"""Cues of WebVTT and SubRip: every cue and word is kept, with a speaker or a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.data.formats.speakers import Speakers
from prospect_core.data.formats.subtitles import read_subtitle_cues


def turns(text: str, suffix: str, **names: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Return (start, speaker, words) of every turn."""
    found = read_subtitle_cues(text, suffix)
    assert not found.refused, found.refused
    speakers = Speakers(**names)
    return [(cue.begin, *turn) for cue in found.cues for turn in speakers.turns(cue)]


def words(text: str, suffix: str = ".srt") -> list[str]:
    return [said for _, _, said in turns(text, suffix)]


def srt(*bodies: str) -> str:
    cues = [f"{k}\n00:00:0{k},000 --> 00:00:0{k},900\n{body}\n" for k, body in enumerate(bodies, 1)]
    return "\n".join(cues)


VTT_TIMES = """\
WEBVTT

00:01.000 --> 00:02.000
first

00:00:03,000 --> 00:00:04,000
second

00:05 --> 00:06
third

00:07.000 --> 00:08.000
fourth
"""


def test_subtitles_vtt_commas_and_whole_seconds():
    assert turns(VTT_TIMES, ".vtt") == [
        ("00:01.000", "assistant", "first"),
        ("00:00:03,000", "assistant", "second"),
        ("00:05", "assistant", "third"),
        ("00:07.000", "assistant", "fourth"),
    ]


def test_subtitles_srt_without_number_or_fraction():
    text = "1\n00:00:01,000 --> 00:00:02,000\nfirst\n\n00:00:03,000 --> 00:00:04,000\nsecond\n\n3\n00:00:05 --> 00:00:06\nthird\n"
    assert words(text) == ["first", "second", "third"]


@pytest.mark.parametrize(
    "times",
    [
        "00:00:02,000 -> 00:00:03,000",
        "00:00:02,000 – 00:00:03,000",
        "00:00:02,000 00:00:03,000",
        "00:00:02:000 --> 00:00:03:000",
        "00: 00:02,000 --> 00:00:03,000",
        "soon --> later",
    ],
)
@pytest.mark.parametrize("suffix", [".srt", ".vtt"])
def test_subtitles_unreadable_times_names_line(times, suffix):
    text = f"00:00:01,000 --> 00:00:01,500\nfirst\n\n{times}\nsecond\n\n00:00:04,000 --> 00:00:05,000\nthird\n"
    found = read_subtitle_cues("WEBVTT\n\n" + text if suffix == ".vtt" else text, suffix)
    line = 6 if suffix == ".vtt" else 4
    assert found.refused == [f"line {line}: cue 2: {times!r} is not a timing line; write 00:00:01,000 --> 00:00:02,000"]
    assert [cue.said[0].lines for cue in found.cues] == [("first",), ("third",)]
    assert found.items == 3


def test_subtitles_empty_cue_or_stray_text_names_line():
    found = read_subtitle_cues(
        "WEBVTT\n\n00:01.000 --> 00:02.000\n\nlost words\n\n00:03.000 --> 00:04.000\nkept\n", ".vtt"
    )
    assert sorted(line.split(";")[0] for line in found.refused) == [
        "line 3: cue 1 has no text",
        "line 5: 'lost words' belongs to no cue",
    ]
    assert (
        read_subtitle_cues("hello\n" + srt("kept"), ".srt").refused[0].startswith("line 1: 'hello' belongs to no cue")
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 < 4 and 5 > 2", "3 < 4 and 5 > 2"),
        ("a <b>bold</b> <i>word</i>, <font color='red'>red</font>", "a bold word, red"),
        ("<think> first", "<think> first"),
        ("{\\an8}above {not a tag}", "above {not a tag}"),
        ("salt &amp; pepper,&nbsp;3 &lt; 4 &#233;", "salt & pepper, 3 < 4 é"),
        ("AT&T &copy this; &lt;i&gt;", "AT&T &copy this; <i>"),
        ("Note: stir", "Note: stir"),
        ("[music] pour", "[music] pour"),
        ("one\n\ntwo", "one two"),
        ("42", "42"),
    ],
)
def test_subtitles_words_stay_as_shown(text, expected):
    assert words(srt(text, "next")) == [expected, "next"]


def test_subtitles_cues_without_empty_lines_are_separate():
    assert words("1\n00:01,0 --> 00:02,0\none\n2\n00:03,0 --> 00:04,0\ntwo\n00:05,0 --> 00:06,0\nthree") == [
        "one",
        "two",
        "three",
    ]


@pytest.mark.parametrize("lead", ["\n\n\n", "\r\n\r\n"])
def test_subtitles_srt_leading_empty_lines(lead):
    assert words(lead + srt("one")) == ["one"]


def test_subtitles_other_blocks_are_left_out():
    text = "WEBVTT - title\nKind: captions\n\nSTYLE\n::cue {color: red}\n\nNOTE a\nremark\n\nREGION\nid:x\n\nname\n00:01.000 --> 00:02.000 align:start line:0%\n<c.loud>Pour</c> <00:01.500>it\n"
    assert words(text, ".vtt") == ["Pour it"]


def test_subtitles_stream_clock_must_be_zero():
    for clock, refused in (("LOCAL:00:00:00.000,MPEGTS:900000", 1), ("LOCAL:00:00:00.000,MPEGTS:0", 0)):
        found = read_subtitle_cues(f"WEBVTT\nX-TIMESTAMP-MAP={clock}\n\n00:01.000 --> 00:02.000\nx\n", ".vtt")
        assert len(found.refused) == refused


VOICES = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Instructor>take the cup\n\n00:03.000 --> 00:04.000\n<v.loud Student>which one?\n"


def test_subtitles_unknown_voice_raises():
    (first, _) = read_subtitle_cues(VOICES, ".vtt").cues
    with pytest.raises(ValueError, match="voice 'Instructor' is unknown; assign it with --user"):
        Speakers().turns(first)
    with pytest.raises(ValueError, match="is unknown"):
        Speakers(users=("Student",), assistants=("Cook",)).turns(first)


@pytest.mark.parametrize("names", [{"users": ("student",)}, {"assistants": ("Instructor",)}])
def test_subtitles_one_named_side_assigns_other_voices(names):
    assert [(who, said) for _, who, said in turns(VOICES, ".vtt", **names)] == [
        ("assistant", "take the cup"),
        ("user", "which one?"),
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("User:which one?", [("user", "which one?")]),
        (
            "USER : which one?\nAssistant: this one\nit is red",
            [("user", "which one?"), ("assistant", "this one it is red")],
        ),
        ("[User]: a", [("user", "a")]),
        ("<v User>a</v><v Assistant>b", [("user", "a"), ("assistant", "b")]),
        (">> User: a", [("user", "a")]),
    ],
)
def test_subtitles_label_names_speaker(body, expected):
    assert [(who, said) for _, who, said in turns(srt(body), ".srt")] == expected


@pytest.mark.parametrize("label", ["[SPEAKER_01]:", "SPEAKER_01:", "(Ana):", "Speaker 2:"])
def test_subtitles_unknown_label_raises(label):
    (cue,) = read_subtitle_cues(srt(f"{label} this one"), ".srt").cues
    with pytest.raises(ValueError, match="is unknown"):
        Speakers().turns(cue)
    name = label.strip("[]():")
    assert Speakers(users=(name,)).turns(cue) == [("user", "this one")]


def test_subtitles_ambiguous_label_is_counted():
    speakers = Speakers()
    for cue in read_subtitle_cues(srt("Ana: this one", "Ana: and this", "So: go"), ".srt").cues:
        speakers.turns(cue)
    assert speakers.labels == {"Ana": 2, "So": 1}
    assert Speakers(users=("Ana",)).turns(read_subtitle_cues(srt("Ana: this one"), ".srt").cues[0]) == [
        ("user", "this one")
    ]


@pytest.mark.parametrize(("text", "suffix"), [("hello", ".vtt"), ("", ".vtt"), ("", ".srt"), ("\n\n", ".srt")])
def test_subtitles_other_text_raises(text, suffix):
    with pytest.raises(ValueError, match=r"begins with WEBVTT|holds no cue"):
        read_subtitle_cues(text, suffix)


LINES = st.sampled_from(
    ["1", "2", "", "", "words", "NOTE 00:01.000 --> 00:02.000", "a --> b", "User: x", "NOTE", "00:01.000 --> 00:02.000", "00:03,5 --> 00:04", "0:5 -> 0:6",
     "00:00:01,000 --> 00:00:02,000 more", "<v A>b", "12:00 - 13:00"]
)  # fmt: skip


@given(st.lists(LINES, max_size=20), st.sampled_from([".srt", ".vtt"]))
def test_subtitles_random_times_are_cues_or_refused(lines, suffix):
    text = "\n".join((["WEBVTT", ""] if suffix == ".vtt" else []) + lines)
    times = sum("-->" in line or "->" in line or line.startswith("12:00") for line in lines)
    try:
        found = read_subtitle_cues(text, suffix)
    except ValueError:
        assert not times
        return
    of_cues = [line for line in found.refused if "belongs to no cue" not in line and "X-TIME" not in line]
    assert len(found.cues) + len(of_cues) == times


@given(
    st.lists(
        st.text(st.characters(exclude_categories=("C", "Z")), min_size=1).map("x{}".format), min_size=1, max_size=8
    )
)
def test_subtitles_random_words_are_kept(bodies):
    bodies = [
        body.replace("<", "").replace("&", "").replace("{", "").replace(":", "").replace(":", "") for body in bodies
    ]
    text = "\n".join(f"{k}\n00:00:{k:02},000 --> 00:00:{k:02},500\n{body}\n" for k, body in enumerate(bodies, 1))
    assert words(text) == [" ".join(body.split()) for body in bodies]
