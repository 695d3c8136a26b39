"""Tables from spreadsheets and editors: cells keep their words, padding is removed, errors are
reported.
"""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.data.formats.annotation_table import HEAD_KEYS
from prospect_core.data.formats.tables import TextTable, fit_delimited_table_row, read_delimited_table

NAMES = ("time", "kind", "what")


def read(text: str, suffix: str = ".csv") -> TextTable:
    return read_delimited_table(text, suffix, HEAD_KEYS)


def cells(table: TextTable) -> list[tuple[str, ...]]:
    return [fit_delimited_table_row(row, NAMES, table.separator) for row in table.rows[1:]]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ('0:01\tsay\t"Start" is the left button', '"Start" is the left button'),
        ('0:01\tsay\t"Start the machine', '"Start the machine'),
        ('0:01\tsay\t"Good."', '"Good."'),
        ('0:01\tsay\t"""Start"" is, I think, left"', '"Start" is, I think, left'),
        ('0:01\tsay\t"two\nlines"', "two lines"),
        ('"0:01"\t"say"\t"Good."', "Good."),
    ],
)
def test_table_quotation_marks_of_words_are_kept(row, expected):
    table = read(f"time\tkind\twhat\n{row}\n0:02\tsay\tnext\n", ".tsv")
    assert [row[2] for row in cells(table)] == [expected, "next"]


def test_table_unclosed_mark_ends_with_row():
    table = read('time,kind,what\n0:01,say,"open\n0:02,say,"closed, here"\n')
    assert cells(table) == [("0:01", "say", '"open'), ("0:02", "say", "closed, here")]


def test_table_unquoted_commas_of_last_column_are_kept():
    table = read("time,kind,what\n0:01,say,Good, now pour it, slowly\n")
    assert cells(table) == [("0:01", "say", "Good, now pour it, slowly")]


def test_table_cell_without_column_raises():
    for text, suffix in (
        ("time,kind,what\n0:01,say,Good,unsure\n", ".csv"),
        ("time\tkind\twhat\n0:01\tsay\tGood\tno\n", ".tsv"),
    ):
        table = read(text, suffix)
        with pytest.raises(ValueError, match="has 4 columns, the line of names has 3"):
            fit_delimited_table_row(table.rows[1], NAMES, table.separator)


def test_table_padding_is_removed():
    table = read(
        '# goal: make tea,,\n"# step S1: boil it, slowly",,\n# video:,clip.mp4,\ntime,kind,what,,\n0:01,start,S1,,\n,,\n'
    )
    assert table.head == {"goal": "make tea", "step S1": "boil it, slowly", "video": "clip.mp4"}
    assert cells(table) == [("0:01", "start", "S1")]
    assert not table.refused


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("mark", ["\t", ",", ";"])
def test_table_separator_is_that_of_header(suffix, mark):
    table = read(f"# goal: make tea{mark}{mark}\r\ntime{mark}kind{mark}what\r\n0:01{mark}say{mark}Good\r\n", suffix)
    assert table.separator == mark
    assert (table.head, cells(table)) == ({"goal": "make tea"}, [("0:01", "say", "Good")])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("# gaol: make tea", "`# gaol:` is unknown: use .*; did you mean 'goal'"),
        ("# stpe S1: boil", "`# stpe S1` is not a step; write `# step S1: ...`"),
        ("# step S1 boil", "`# step S1` is not a step"),
        ("# step: boil", "a step has an id"),
        ("# goal make tea", "`# goal` has no colon"),
        ("# goal:", "goal has no value"),
        ("# fps: 2\n# fps: 3", "fps is given twice"),
        ("# step S1: a\n# step S1: b", "step S1 is given twice"),
    ],
)
def test_table_misspelled_header_raises(line, reason):
    (refused,) = read(f"{line}\ntime,kind,what\n").refused
    assert re.search(reason, refused)
    assert refused.startswith(f"line {line.count(chr(10)) + 1}: ")


@pytest.mark.parametrize(
    "line", ["# made on Monday", "# kinds: start, complete", "# the video lasts 0:10; columns", "#", "# 5"]
)
def test_table_comment_is_skipped(line):
    table = read(f"{line}\ntime,kind,what\n")
    assert (table.head, table.refused) == ({}, [])


WORDS = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1).filter(
    lambda t: t.strip() and not t.startswith("#")
)


@given(
    st.lists(WORDS, min_size=1, max_size=6),
    st.sampled_from(["excel", "excel-tab"]),
    st.booleans(),
    st.sampled_from("\t,;"),
)
def test_table_csv_writer_cells_round_trip(texts, dialect, all_quoted, mark):
    file = io.StringIO()
    quoting = csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(file, dialect, delimiter=mark, quoting=quoting)
    writer.writerow(NAMES)
    writer.writerows(["0:01", "say", text] for text in texts)
    assert [row[2] for row in cells(read(file.getvalue()))] == [text.strip() for text in texts]


@given(st.lists(st.sampled_from(["0:01", "say", '"', ",", "\n", "x", ";", "\t", '""', " "]), max_size=40))
def test_table_random_words_are_kept(parts):
    text = "time,kind,what\n" + "".join(parts)
    assert sum(row.text.count("x") for row in read(text).rows) == text.count("x")
