"""Lazy episodes equal episodes that are read in one pass, for any partition of the index."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import pytest

from prospect_core.data import jsonl_index
from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.data.jsonl_index import EpisodeHeader, Joined, clips_from_jsonl_index, open_jsonl_index
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(jsonl_index, "WORTH_KEEPING", 0)


@pytest.fixture
def episodes(world):
    (first, *_) = world.episodes("test")
    return [replace(first, id=f"é{k}", video=f"videos/{k // 3}.mp4", user_type="x" * k) for k in range(20)]


def written(folder, episodes, blank=()):
    folder.mkdir()
    lines = []
    for k, episode in enumerate(episodes):
        lines += ["\n"] * (k in blank) + [dump_json(episode) + "\n"]
    (folder / "test.jsonl").write_text("".join(lines))
    return folder / "test.jsonl"


def test_jsonl_index_rows_in_any_order(world):
    for split in world.splits:
        every, rows = list(world.episodes(split)), world.rows(split)
        assert len(rows) == len(every)
        assert list(rows) == every
        assert [rows[k] for k in reversed(range(len(rows)))] == every[::-1]
        assert rows[-1] == every[-1]
        assert list(rows[1:3]) == every[1:3]
        assert rows.clips() == [EpisodeHeader(e.id, e.video, e.fps, e.start_frame, e.end_frame) for e in every]
        assert rows.clip(1) == rows[1:].clips()[0]
        # the way a separate process reads them
        assert list(pickle.loads(pickle.dumps(rows[::2]))) == every[::2]
        with pytest.raises(IndexError):
            rows[len(rows)]


def test_jsonl_index_reads_file_again_after_change(episodes, tmp_path, monkeypatch):
    file = written(tmp_path / "set", episodes, blank=(0, 7))
    reads = []
    monkeypatch.setattr(
        jsonl_index,
        "read_jsonl_index_rows",
        lambda *a, real=jsonl_index.read_jsonl_index_rows, **k: reads.append(a) or real(*a, **k),
    )
    for _ in range(3):
        assert list(open_jsonl_index(file)) == episodes
    assert len(reads) == 1
    # a moved file is the same file
    (tmp_path / "set").rename(tmp_path / "moved")
    file = tmp_path / "moved" / "test.jsonl"
    assert open_jsonl_index(file)[3] == episodes[3]
    assert len(reads) == 1
    file.write_text(dump_json(episodes[5]) + "\n")
    assert list(open_jsonl_index(file)) == [episodes[5]]
    assert len(reads) == 2


def test_write_dataset_writes_index(episodes, tmp_path, monkeypatch):
    written(tmp_path / "from", episodes)
    made = write_dataset(tmp_path / "set", "small", "1", 2, {"test": episodes})
    monkeypatch.setattr(jsonl_index, "read_jsonl_index_rows", None)
    assert list(Dataset.open(made.root).rows("test")) == episodes


def test_jsonl_index_change_while_open_raises(episodes, tmp_path):
    file = written(tmp_path / "set", episodes[:2])
    rows = open_jsonl_index(file)
    text = file.read_bytes()
    file.write_bytes(text.replace("é1".encode(), "é7".encode()))
    assert rows[0] == episodes[0]
    with pytest.raises(
        DataError, match=r"test\.jsonl: row 2: has changed since the file was checked; run `prospect data validate`"
    ):
        rows[1]
    os.truncate(file, 10)
    with pytest.raises(DataError, match=r"test\.jsonl: row 2: "):
        rows[1]


def test_jsonl_index_edit_with_same_size_and_time_is_detected(episodes, tmp_path, monkeypatch):
    """An unchecked row is never returned, neither by an open file nor by one opened later."""
    monkeypatch.setattr(jsonl_index, "WORTH_KEEPING", 0)
    file = written(tmp_path / "set", episodes)
    rows = open_jsonl_index(file)
    status, text = file.stat(), file.read_bytes()
    edited = text.replace(b'"start_frame":0', b'"start_frame":9', 1)
    assert edited != text
    file.write_bytes(edited)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    for opened in (rows, open_jsonl_index(file)):
        with pytest.raises(DataError, match="has changed since the file was checked"):
            list(opened)


@pytest.mark.integration
def test_jsonl_index_parts_have_each_row_once(episodes, tmp_path, monkeypatch):
    file = written(tmp_path / "set", episodes, blank=(0, 3, 19))
    size = file.stat().st_size
    whole = [jsonl_index._entry(*row) for row in jsonl_index.read_jsonl_index_rows(file)]
    assert [row[2] for row in whole][:4] == [2, 3, 4, 6]
    lines = [k + 1 for k, byte in enumerate(file.read_bytes()) if byte == 10]
    for part in {1, 2, size - 1, size, size + 1, *lines, *(k - 1 for k in lines), *range(100, size, size // 30)}:
        monkeypatch.setattr(jsonl_index, "PART", part)
        parts = jsonl_index.find_jsonl_index_part_edges(file)
        assert [begin for begin, _ in parts] == [0, *(end for _, end in parts[:-1])]
        assert parts[-1][1] == size
        assert {end for _, end in parts} <= set(lines)
        found, before = [], 0
        for begin, end in parts:
            count, rows = jsonl_index._part((file, begin, end))
            found += [(b, s, n + before, *rest) for b, s, n, *rest in rows]
            before += count
        assert found == whole
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert jsonl_index.find_jsonl_index_part_edges(empty) == []
    assert len(open_jsonl_index(empty)) == 0


@pytest.mark.slow
def test_jsonl_index_several_processes_name_bad_row(episodes, tmp_path, monkeypatch):
    file = written(tmp_path / "set", episodes, blank=(4,))
    monkeypatch.setattr(jsonl_index, "PART", file.stat().st_size // 12)
    assert list(open_jsonl_index(file, workers=2)) == episodes
    lines = file.read_text().splitlines()
    lines[15] = lines[15].replace('"fps":2', '"fps":0')
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"test\.jsonl: row 16: .*fps 0 must be above 0"):
        open_jsonl_index(file, workers=2)


def test_jsonl_index_without_cache_reads_rows(episodes, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    file = written(tmp_path / "set", episodes)
    assert list(open_jsonl_index(file)) == episodes
    # a damaged index is replaced
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    open_jsonl_index(file)
    (kept,) = (tmp_path / "cache").rglob("*.arrow")
    for damage in (b"", b"ARROW1 and nothing else", kept.read_bytes()[:-40]):
        kept.write_bytes(damage)
        assert list(open_jsonl_index(file)) == episodes
    with pytest.raises(DataError, match="No such file"):
        open_jsonl_index(tmp_path / "none.jsonl")


def test_jsonl_index_small_file_is_not_cached(episodes, tmp_path, monkeypatch):
    file = written(tmp_path / "set", episodes)
    monkeypatch.setattr(jsonl_index, "WORTH_KEEPING", file.stat().st_size + 1)
    assert list(open_jsonl_index(file)) == episodes
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_joined_sequences_act_as_one(episodes, tmp_path):
    rows = open_jsonl_index(written(tmp_path / "set", episodes[:12]))
    both = Joined([rows, episodes[12:15], [], episodes[15:]])
    assert len(both) == 20
    assert list(both) == [both[k] for k in range(20)] == episodes
    assert both[-1] == episodes[-1]
    assert both[10:14] == episodes[10:14]
    assert [clip.id for clip in clips_from_jsonl_index(both)] == [episode.id for episode in episodes]
    with pytest.raises(IndexError):
        both[20]
    assert len(Joined([])) == 0


def test_jsonl_index_two_rows_of_one_id_raise(episodes, tmp_path):
    """A run replayed both and kept one."""
    file = written(tmp_path / "set", [episodes[0], episodes[1], episodes[0]], blank=(1,))
    with pytest.raises(DataError, match=r"test\.jsonl: rows 1 and 4 are both episode 'é0'"):
        open_jsonl_index(file).require_single_ids()
    with pytest.raises(DataError, match=r"test\.jsonl: row 1 and test\.jsonl: row 3 are both episode 'é0'"):
        write_dataset(tmp_path / "other", "n", "1", 2, {"test": [episodes[0], episodes[1], episodes[0]]})
