"""Cues of WebVTT and SubRip: none is lost, no word of them changes, each has its speaker or a line that says why not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.data.formats.speakers import Speakers
from prospect_core.data.formats.subtitles import read_subtitle_cues


def turns(text: str, suffix: str, **names: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """(begin, who, words) of every turn."""
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


def test_vtt_cues_with_commas_and_whole_seconds_are_read():
    assert turns(VTT_TIMES, ".vtt") == [
        ("00:01.000", "assistant", "first"),
        ("00:00:03,000", "assistant", "second"),
        ("00:05", "assistant", "third"),
        ("00:07.000", "assistant", "fourth"),
    ]


def test_srt_cues_without_number_or_with_whole_seconds_are_read():
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
def test_cue_with_unreadable_times_is_refused_with_its_line(times, suffix):
    text = f"00:00:01,000 --> 00:00:01,500\nfirst\n\n{times}\nsecond\n\n00:00:04,000 --> 00:00:05,000\nthird\n"
    found = read_subtitle_cues("WEBVTT\n\n" + text if suffix == ".vtt" else text, suffix)
    line = 6 if suffix == ".vtt" else 4
    assert found.refused == [
        f"line {line}: cue 2: {times!r} is not the times of a cue; write 00:00:01,000 --> 00:00:02,000"
    ]
    assert [cue.said[0].lines for cue in found.cues] == [("first",), ("third",)]
    assert found.items == 3


def test_empty_cue_and_text_outside_a_cue_are_refused_with_their_lines():
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
def test_words_of_a_cue_stay_as_players_show_them(text, expected):
    assert words(srt(text, "next")) == [expected, "next"]


def test_cues_without_empty_lines_between_them_are_apart():
    assert words("1\n00:01,0 --> 00:02,0\none\n2\n00:03,0 --> 00:04,0\ntwo\n00:05,0 --> 00:06,0\nthree") == [
        "one",
        "two",
        "three",
    ]


@pytest.mark.parametrize("lead", ["\n\n\n", "\r\n\r\n"])
def test_srt_that_begins_with_empty_lines_is_read(lead):
    assert words(lead + srt("one")) == ["one"]


def test_blocks_that_are_not_speech_are_left_out():
    text = "WEBVTT - title\nKind: captions\n\nSTYLE\n::cue {color: red}\n\nNOTE a\nremark\n\nREGION\nid:x\n\nname\n00:01.000 --> 00:02.000 align:start line:0%\n<c.loud>Pour</c> <00:01.500>it\n"
    assert words(text, ".vtt") == ["Pour it"]


def test_stream_clock_in_the_header_is_refused_unless_zero():
    for clock, refused in (("LOCAL:00:00:00.000,MPEGTS:900000", 1), ("LOCAL:00:00:00.000,MPEGTS:0", 0)):
        found = read_subtitle_cues(f"WEBVTT\nX-TIMESTAMP-MAP={clock}\n\n00:01.000 --> 00:02.000\nx\n", ".vtt")
        assert len(found.refused) == refused


VOICES = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Instructor>take the cup\n\n00:03.000 --> 00:04.000\n<v.loud Student>which one?\n"


def test_unknown_voice_is_refused():
    (first, _) = read_subtitle_cues(VOICES, ".vtt").cues
    with pytest.raises(ValueError, match="voice 'Instructor' is unknown; say whose it is by --user"):
        Speakers().turns(first)
    with pytest.raises(ValueError, match="is unknown"):
        Speakers(users=("Student",), assistants=("Cook",)).turns(first)


@pytest.mark.parametrize("names", [{"users": ("student",)}, {"assistants": ("Instructor",)}])
def test_named_side_leaves_the_other_voices_to_the_other_side(names):
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
def test_label_before_the_words_names_the_speaker(body, expected):
    assert [(who, said) for _, who, said in turns(srt(body), ".srt")] == expected


@pytest.mark.parametrize("label", ["[SPEAKER_01]:", "SPEAKER_01:", "(Ana):", "Speaker 2:"])
def test_label_of_an_unknown_speaker_is_refused(label):
    (cue,) = read_subtitle_cues(srt(f"{label} this one"), ".srt").cues
    with pytest.raises(ValueError, match="is unknown"):
        Speakers().turns(cue)
    name = label.strip("[]():")
    assert Speakers(users=(name,)).turns(cue) == [("user", "this one")]


def test_unknown_label_that_may_be_words_is_counted():
    speakers = Speakers()
    for cue in read_subtitle_cues(srt("Ana: this one", "Ana: and this", "So: go"), ".srt").cues:
        speakers.turns(cue)
    assert speakers.labels == {"Ana": 2, "So": 1}
    assert Speakers(users=("Ana",)).turns(read_subtitle_cues(srt("Ana: this one"), ".srt").cues[0]) == [
        ("user", "this one")
    ]


@pytest.mark.parametrize(("text", "suffix"), [("hello", ".vtt"), ("", ".vtt"), ("", ".srt"), ("\n\n", ".srt")])
def test_text_of_another_kind_is_refused(text, suffix):
    with pytest.raises(ValueError, match=r"begins with WEBVTT|holds no cue"):
        read_subtitle_cues(text, suffix)


LINES = st.sampled_from(
    ["1", "2", "", "", "words", "NOTE 00:01.000 --> 00:02.000", "a --> b", "User: x", "NOTE", "00:01.000 --> 00:02.000", "00:03,5 --> 00:04", "0:5 -> 0:6",
     "00:00:01,000 --> 00:00:02,000 more", "<v A>b", "12:00 - 13:00"]
)  # fmt: skip


@given(st.lists(LINES, max_size=20), st.sampled_from([".srt", ".vtt"]))
def test_every_line_of_times_is_a_cue_or_is_refused(lines, suffix):
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
def test_words_in_are_words_out(bodies):
    bodies = [
        body.replace("<", "").replace("&", "").replace("{", "").replace(":", "").replace(":", "") for body in bodies
    ]
    text = "\n".join(f"{k}\n00:00:{k:02},000 --> 00:00:{k:02},500\n{body}\n" for k, body in enumerate(bodies, 1))
    assert words(text) == [" ".join(body.split()) for body in bodies]
