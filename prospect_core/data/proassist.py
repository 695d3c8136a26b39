"""ProAssist's published tree read where it lies: rows become a dataset of ours, its 152 GB of frames stay in their place.

    prospect data proassist processed_data --output data/proassist
    prospect-eval run --ckpt runs/mine --data data/proassist --split test

TREE/SUBSET/prepared/PREFIX_SPLIT_L0_I*.jsonl   whole dialogues, one a row
TREE/SUBSET/frames/VIDEO.arrow                  stored frames, two a second

Names: of Assembly101 what stands before the first underscore is no part of a file's name, so that assembly and disassembly of
one recording share a file; nor is ``grp-`` of Ego4D. Dialogues that go on after the last stored frame (80 clips of Assembly101
are known to) are left out and listed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prospect_core.data.dataset import Dataset, write_dataset
from prospect_core.data.origin_formats import from_prepared
from prospect_core.data.staging import staged
from prospect_core.errors import DataError, UserError
from prospect_core.timeline import Episode, TimelineError

SUBSETS = ("assembly101", "ego4d", "egoexolearn", "epickitchens", "holoassist", "wtag")
SPLITS = ("train", "val", "test")
#: which rows are read, the first kind that is there: with the steps to take, and with progress summaries
PREFIXES = ("dialog-klg-sum", "dialog-klg", "dialog-sum", "dialog")
FPS = 2.0
#: dialogues that were left out, and why
LEFT_OUT = "left_out.jsonl"


@dataclass(frozen=True)
class Left:
    """A dialogue that was left out."""

    split: str
    id: str
    video: str
    why: str


def frames_name(subset: str, video: str) -> str:
    """The file of a recording's frames, by the published naming rules."""
    if subset == "assembly101" and "_" in video:
        video = video.split("_", 1)[1]
    if subset == "ego4d":
        video = video.removeprefix("grp-")
    return f"frames/{video}.arrow"


def read_tree(
    tree: Path,
    output: Path,
    subsets: Sequence[str] = (),
    progress: Callable[[str, int, int | None], None] = lambda what, done, total: None,
) -> tuple[Dataset, list[Left]]:
    """Write a dataset whose videos are the tree's; (the dataset, what was left out)."""
    found = [name for name in SUBSETS if (tree / name / "prepared").is_dir()]
    if unknown := [name for name in subsets if name not in found]:
        raise UserError(f"--subset {unknown[0]}: {tree} has {', '.join(found) or 'none of ' + ', '.join(SUBSETS)}")
    wanted = [name for name in found if not subsets or name in subsets]
    if not wanted:
        raise DataError(f"{tree}: holds no SUBSET/prepared folder of {', '.join(SUBSETS)}; unzip prepared.zip there")
    left: list[Left] = []
    lengths: dict[str, int | None] = {}

    def sound(split: str) -> Iterator[Episode]:
        for subset in wanted:
            file = _rows_file(tree / subset / "prepared", split)
            for done, episode in enumerate(() if file is None else _rows(file), 1):
                one = _placed(tree, subset, episode)
                if one.video not in lengths:
                    lengths[one.video] = stored_frames(tree / one.video)
                have = lengths[one.video]
                if have is None:
                    left.append(Left(split, one.id, str(one.video), "no such file"))
                elif have < one.end_frame:
                    left.append(
                        Left(split, one.id, str(one.video), f"ends at frame {one.end_frame}, {have} are stored")
                    )
                else:
                    yield one
                progress(f"{subset} {split}", done, None)

    with staged(output) as scratch:
        splits = {split: list(sound(split)) for split in SPLITS}
        splits = {split: rows for split, rows in splits.items() if rows}
        if not splits:
            why = f"; the first of {len(left)} left out: {left[0].video}: {left[0].why}" if left else ""
            raise DataError(
                f"{tree}: no dialogue is left; of each SUBSET/prepared, {{{','.join(PREFIXES)}}}_{{{','.join(SPLITS)}}}_L0_I*.jsonl"
                f" are read{why}"
            )
        (scratch / LEFT_OUT).write_text("".join(json.dumps(one.__dict__) + "\n" for one in left), "utf-8")
        write_dataset(
            scratch, "proassist", "1", FPS, splits, "read from ProAssist's tree", videos_root=str(tree.resolve())
        )
    return Dataset.open(output), left


def stored_frames(path: Path) -> int | None:
    """How many frames a file has, without reading them; None where there is no such file."""
    import pyarrow as pa

    if not path.is_file():
        return None
    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
            rows: int = sum(batch.num_rows for batch in stream)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: not an Arrow stream file ({str(error).splitlines()[0]})") from error
    return rows


def _rows_file(folder: Path, split: str) -> Path | None:
    """Whole dialogues (``L0``) of a split, of the best kind that is there."""
    for prefix in PREFIXES:
        files = sorted(folder.glob(f"{prefix}_{split}_L0_I*.jsonl"))
        if files:
            return files[0]
    return None


def _rows(file: Path) -> Iterator[Episode]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                episode = from_prepared(json.loads(line)).validate()
            except (TimelineError, UserError, KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
                raise DataError(f"{file}: row {number}: not a prepared row ({error})") from error
            yield episode


def _placed(tree: Path, subset: str, episode: Episode) -> Episode:
    """The episode, its id unique among all subsets, its video where the tree has it."""
    origin = json.loads(episode.meta["origin"])["row"]
    names = [episode.video, frames_name(subset, origin["video_uid"])]
    name = next((name for name in names if (tree / subset / name).is_file()), names[-1])
    return replace(episode, id=f"{subset}.{episode.id}", video=f"{subset}/{name}", dataset=subset)
