"""Reading of published files: which files belong to a model, and entries of a known shape."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from prospect_core.util.errors import DataError, UserError
from prospect_eval.suites.published_files import (
    convert_entry,
    find_published_file,
    find_repeated,
    list_names,
    list_result_files,
    read_json_list,
)


@dataclass(frozen=True)
class Shape:
    id: int
    times: tuple[float, ...] = ()


def test_convert_entry_unknown_keys_are_ignored():
    assert convert_entry({"id": 1, "times": [2, 3.5], "other": None}, Shape) == Shape(1, (2.0, 3.5))


@pytest.mark.parametrize("entry", [{}, {"id": "1"}, {"id": True}, {"id": 1, "times": ["a"]}, [], None, "x"])
def test_convert_entry_other_shape_gives_reason(entry):
    assert isinstance(convert_entry(entry, Shape), str)


@pytest.fixture
def models(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b.json").write_text("{}")
        (tmp_path / name / "a.json").write_text("{}")
        (tmp_path / name / "log.txt").write_text("")
    return tmp_path


def test_list_result_files_model_folder_is_sorted(models):
    assert [file.name for file in list_result_files([models], (".json",), "second")] == ["a.json", "b.json"]
    assert list_result_files([models / "second"], (".json",)) == list_result_files([models], (".json",), "second")


def test_list_result_files_several_models_raise(models):
    with pytest.raises(UserError, match="holds several models; name one of first, second"):
        list_result_files([models], (".json",))


def test_list_result_files_unknown_model_suggests_nearest(models):
    with pytest.raises(UserError, match="holds no model 'secnd', only first, second; did you mean 'second'"):
        list_result_files([models], (".json",), "secnd")


def test_list_result_files_one_model_needs_no_name(models):
    for file in (models / "first").iterdir():
        file.unlink()
    assert len(list_result_files([models], (".json",))) == 2


def test_list_result_files_empty_folder_raises(tmp_path):
    with pytest.raises(DataError, match="holds no result file"):
        list_result_files([tmp_path], (".json",))


def test_find_published_file_absent_raises(tmp_path):
    with pytest.raises(DataError, match=r"holds none of a\.json, data/a\.json"):
        find_published_file(tmp_path, ("a.json", "data/a.json"))


def test_read_json_list_other_value_raises(tmp_path):
    file = tmp_path / "x.json"
    file.write_text("{}")
    with pytest.raises(DataError, match="not annotations"):
        read_json_list(file, "annotations")


def test_list_names_counts_others():
    assert list_names(range(3)) == "0, 1, 2"
    assert list_names(range(10)) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


def test_find_repeated_returns_each_value_once():
    assert find_repeated([3, 1, 3, 2, 1, 3]) == [3, 1]
