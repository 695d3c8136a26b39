"""Rows of published files: JSON lists, JSON lines, Python literals, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.util.errors import DataError
from prospect_eval.suites.result_rows import parse_python_literal, read_result_rows, read_time_span


def written(folder, text):
    file = folder / "rows.jsonl"
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('[{"a": 1}, null]', [{"a": 1}, None]),
        ('{"a": 1}', [{"a": 1}]),
        ('{"a": 1}\n\n  \n{"a": 2}\r\n', [{"a": 1}, {"a": 2}]),
        ('\ufeff{"a": 1}\n{"a": 2}', [{"a": 1}, {"a": 2}]),
        ("", []),
    ],
)
def test_read_result_rows_each_form(tmp_path, text, values):
    assert [row.value for row in read_result_rows(written(tmp_path, text))] == values


def test_read_result_rows_python_literals_if_allowed(tmp_path):
    file = written(tmp_path, "{'pred': None, 'ok': True}\n{\"pred\": null}\n")
    assert [row.value for row in read_result_rows(file, literals=True)] == [{"pred": None, "ok": True}, {"pred": None}]
    with pytest.raises(DataError, match=r"rows.jsonl:1: not JSON"):
        read_result_rows(file)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').getcwd()",
        "{'a': open('x')}",
        "1 if True else 2",
        "[" * 5000 + "]" * 5000,
        "{1: 'a'}",
        "{'a': 1e999}",
        "{'a': {1, 2}}",
        "'" + "a" * (1 << 20) + "'",
    ],
)
def test_parse_python_literal_code_raises(text):
    with pytest.raises(DataError) as error:
        parse_python_literal(text, "here")
    assert str(error.value).startswith("here: ")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_parse_python_literal_json_values_round_trip(value):
    assert parse_python_literal(repr(value), "here") == value


@pytest.mark.parametrize("value", [[1], [1, "2"], [1, None], "1, 2", [1, float("nan")], [True, 2], [1, 10**400]])
def test_read_time_span_other_value_is_none(value):
    assert read_time_span(value) is None


def test_read_time_span_two_numbers():
    assert read_time_span([1, 2.5]) == (1.0, 2.5)
