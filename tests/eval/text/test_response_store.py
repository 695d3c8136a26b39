"""Stored replies: keys of requests, damaged and read-only files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from prospect_eval.text.response_store import PictureUrl, ResponseStore, response_key

MESSAGES = [
    {"role": "system", "content": [{"type": "text", "text": "Help."}]},
    {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": PictureUrl("data:1")}},
            {"type": "text", "text": "Now?"},
        ],
    },
]


def key(url="u", model="m", parameters=None, messages=MESSAGES):
    return response_key(url, model, parameters or {"seed": 1}, messages)


def with_user(*parts, role="user"):
    return [MESSAGES[0], {"role": role, "content": list(parts)}]


PICTURE, TEXT = MESSAGES[1]["content"]


@pytest.mark.parametrize(
    "other",
    [
        {"url": "v"},
        {"model": "n"},
        {"parameters": {"seed": 2}},
        {"messages": MESSAGES[:1]},
        {"messages": with_user(TEXT, PICTURE)},
        {"messages": with_user({"type": "image_url", "image_url": {"url": PictureUrl("data:2")}}, TEXT)},
        {"messages": with_user(PICTURE, {"type": "text", "text": "Now"})},
        {"messages": with_user(PICTURE, TEXT, role="assistant")},
        {"messages": [*MESSAGES, {"role": "user", "content": []}]},
    ],
)
def test_response_key_depends_on_everything(other):
    assert key(**other) != key()


def test_response_key_ignores_order_of_parameters_and_kind_of_text():
    assert key(parameters={"a": 1, "b": 2}) == key(parameters={"b": 2, "a": 1})
    plain = with_user({"type": "image_url", "image_url": {"url": "data:1"}}, TEXT)
    assert key(messages=plain) == key()


def test_response_store_keeps_texts_over_sessions(tmp_path):
    store = ResponseStore(tmp_path / "x.sqlite")
    assert store.read(key()) is None
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: store.write(bytes([n]), f"text {n}"), range(100)))
    store.close()
    assert ResponseStore(tmp_path / "x.sqlite").read(bytes([99])) == "text 99"


def test_response_store_two_processes_share_file(tmp_path):
    one, two = (ResponseStore(tmp_path / "x.sqlite") for _ in range(2))
    one.write(b"a", "1")
    two.write(b"b", "2")
    assert (two.read(b"a"), one.read(b"b")) == ("1", "2")


def test_response_store_damaged_file_starts_again(tmp_path):
    file = tmp_path / "x.sqlite"
    file.write_bytes(b"no database at all " * 100)
    store = ResponseStore(file)
    store.write(b"a", "1")
    assert store.read(b"a") == "1"


def test_response_store_closed_keeps_nothing(tmp_path):
    store = ResponseStore(tmp_path / "x.sqlite")
    store.close()
    store.write(b"a", "1")
    assert store.read(b"a") is None


def test_response_store_unusable_path_keeps_nothing(tmp_path):
    store = ResponseStore(tmp_path / "missing" / "x.sqlite")
    store.write(b"a", "1")
    assert store.read(b"a") is None
