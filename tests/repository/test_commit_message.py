"""The check of commit messages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.ci_scripts import PROSE, prose_module

problems_of = prose_module("commit_message").problems_of


@pytest.mark.parametrize(
    "message",
    [
        "Subtract the container start time from timestamps",
        "Subtract the start time\n\nVideos began late.\n",
        "Write files atomically\n# a comment of Git\n",
        "\nAdd a table\n",
        "A" * 72,
        "Process videos in order",
        "Merge branch 'a' of a very long address that Git has written here by itself, in full.",
        "fixup! Added something.",
        "Add a table\n# ------------------------ >8 ------------------------\ndiff\n",
    ],
)
def test_commit_message_good_has_no_problem(message):
    assert problems_of(message) == []


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("A" * 73, "the subject has 73 characters; write at most 72"),
        ("Added a table", "the subject begins with 'Added'; write the imperative 'Add'"),
        ("Adds a table", "the subject begins with 'Adds'; write the imperative 'Add'"),
        ("Adding a table", "the subject begins with 'Adding'; write the imperative 'Add'"),
        ("Removed a table", "the subject begins with 'Removed'; write the imperative 'Remove'"),
        ("Removing a table", "the subject begins with 'Removing'; write the imperative 'Remove'"),
        ("Stopped a worker", "the subject begins with 'Stopped'; write the imperative 'Stop'"),
        ("Applies a rule", "the subject begins with 'Applies'; write the imperative 'Apply'"),
        ("Fixes: a bug", "the subject begins with 'Fixes'; write the imperative 'Fix'"),
        ("Wrote a page", "the subject begins with 'Wrote'; write the imperative 'Write'"),
        ("Add a table.", "the subject ends with a full stop; leave it out"),
        ("Add a table\nand a page", "the second line holds text; leave it empty"),
        ("# only a comment\n", "the message is empty; write what the commit changes"),
    ],
)
def test_commit_message_bad_has_problem(message, problem):
    assert problems_of(message) == [problem]


@pytest.mark.parametrize(("message", "status"), [("Add a table\n", 0), ("Added a table.\n", 1)])
def test_commit_message_hook_bad_exits_1(tmp_path, message, status):
    file = tmp_path / "message"
    file.write_text(message)
    done = subprocess.run([sys.executable, PROSE / "commit_message.py", file], capture_output=True, text=True)
    assert done.returncode == status
    assert len(done.stdout.splitlines()) == 2 * status
