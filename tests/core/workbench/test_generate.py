"""Workbench on disk: the same bytes for the same seed, complete or absent, any split at any level."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from prospect_core.cli.commands import prospect
from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.util.errors import UserError
from prospect_core.workbench.generate import (
    WORLD_VERSION,
    generate_workbench,
    generate_workbench_video,
    regenerate_workbench_plan,
)
from prospect_core.workbench.rendering.pictures import VIDEO_FPS, render_picture_video
from prospect_core.workbench.world.levels import SPLITS


@pytest.mark.slow
@pytest.mark.integration
def test_generate_workbench_same_seed_is_equal(world, tmp_path):
    again = generate_workbench(tmp_path / "again", 7, {"train": 2, "val": 1, "test": 2}, workers=1, video_fps=2)
    for split in world.splits:
        assert (again.root / f"{split}.jsonl").read_bytes() == (world.root / f"{split}.jsonl").read_bytes()
    one, two = (next(d.episodes("val")) for d in (world, again))
    for a, b in zip(
        world.frame_source(one, FrameFormat(48)).frames(0, one.end_frame),
        again.frame_source(two, FrameFormat(48)).frames(0, two.end_frame),
        strict=True,
    ):
        assert np.array_equal(a, b)


@pytest.mark.slow
def test_render_video_is_deterministic(tmp_path):
    """x264's macroblock tree differed from run to run on processors with AVX-512."""
    plans = [generate_workbench_video(0, "train", number)[1] for number in range(60)]
    plan = min(plans, key=lambda plan: plan.duration)
    for number in range(3):
        render_picture_video(plan, tmp_path / f"{number}.mp4")
    assert len({(tmp_path / f"{number}.mp4").read_bytes() for number in range(3)}) == 1


def test_workbench_frames_have_own_pictures():
    """A picture of 0.4 s shown at 0.5 s would hide changes in between from its decision frame."""
    assert VIDEO_FPS % 2 == 0


@pytest.mark.slow
def test_generate_workbench_fewer_pictures_show_same_frames(world, tmp_path):
    """The tests' workbench has only the pictures that are read; this test generates one with all
    pictures.
    """
    full = generate_workbench(tmp_path / "full", 7, {"train": 1})
    one, two = (next(d.episodes("train")) for d in (full, world))
    assert one == two
    assert world.root.joinpath(one.video).stat().st_size < 0.6 * full.root.joinpath(one.video).stat().st_size
    frames = [
        np.stack(list(d.frame_source(one, FrameFormat(48)).frames(0, one.end_frame))).astype(int) for d in (full, world)
    ]
    # encoded with other pictures in between
    assert np.abs(frames[0] - frames[1]).mean() < 2
    with pytest.raises(UserError, match="video_fps=3: give a multiple of 2, because 2 frames per second are read"):
        generate_workbench(tmp_path / "odd", 7, {"train": 1}, video_fps=3)


def test_generate_workbench_existing_folder_raises(world):
    with pytest.raises(UserError, match="already exists"):
        generate_workbench(world.root, 7, {"val": 1})


def test_generate_workbench_unknown_split_or_level_raises(tmp_path):
    with pytest.raises(UserError, match="did you mean 'test_hard'"):
        generate_workbench(tmp_path / "a", 0, {"test_hrd": 1})
    with pytest.raises(UserError, match="easy, hard, normal"):
        generate_workbench(tmp_path / "a", 0, {"val": 1}, level="medium")


@pytest.mark.integration
def test_generate_workbench_failure_leaves_nothing(tmp_path, monkeypatch):
    import prospect_core.workbench.generate as module

    def fail(*args, **kwargs):
        raise RuntimeError("disk full")

    monkeypatch.setattr(module, "write_dataset", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        generate_workbench(tmp_path / "set", 1, {"val": 1}, workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_generate_workbench_two_processes_share_result(tmp_path, monkeypatch):
    import prospect_core.workbench.generate as module

    real = module.write_dataset

    def while_another_finishes(scratch, *args, **kwargs):
        written = real(scratch, *args, **kwargs)
        shutil.copytree(scratch, module.cache_dir() / f"workbench-{WORLD_VERSION}-5-val-1")
        return written

    monkeypatch.setattr(module, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(module, "write_dataset", while_another_finishes)
    monkeypatch.setitem(module.SPLITS, "val", replace(SPLITS["val"], videos=1))
    assert len(list(module.generate_cached_workbench("val", seed=5).episodes("val"))) == 3
    assert [path.name for path in tmp_path.iterdir()] == [f"workbench-{WORLD_VERSION}-5-val-1"]


@pytest.mark.slow
def test_workbench_command_any_split_and_level(tmp_path, capsys):
    def run(*args):
        with pytest.raises(SystemExit) as stop:
            prospect(["data", *map(str, args)])
        out = capsys.readouterr()
        return stop.value.code, out.out + out.err

    none = ("--train", 0, "--val", 0, "--test", 0)
    code, text = run("workbench", "--output", tmp_path / "set", *none, "--test-hard", 1, "--level", "easy")
    assert (code, "test_hard 3 episodes" in text) == (0, True)
    dataset = Dataset.open(tmp_path / "set")
    assert (dataset.splits, dataset.info.meta["level"]) == (["test_hard"], "easy")
    assert regenerate_workbench_plan(next(dataset.episodes("test_hard"))).look.jugs == ()
    code, text = run("workbench", "--output", tmp_path / "two", *none)
    assert (code, "a number above 0" in text) == (2, True)
    code, text = run("workbench", "--output", tmp_path / "two", "--level", "harder")
    assert (code, "did you mean 'hard'" in text, text.count("\n")) == (2, True, 1)
