"""Which files of ProAssist's published tree hold the rows of a split.

TREE/SUBSET/prepared/KIND_SPLIT_L4096_I*.jsonl     clips of at most 4096 tokens: training, and its loss on val and test
TREE/SUBSET/prepared/KIND_SPLIT_L0_I*.jsonl        whole dialogues, one a row: evaluation (val and test alone)
TREE/SUBSET/generated_dialogs/SPLIT_filtered.json  dialogues before they became rows, of kind ``generated``
TREE/SUBSET/SPLIT.json                             clips of the DST extension, of kind ``dst``

``I`` is the number of tokens a picture; where clips are cut depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prospect_core.util.errors import UserError, did_you_mean

SPLITS = ("train", "val", "test")
#: dialogues, the best kind first: with the steps to take, and with progress summaries (which ``L0`` rows never have)
DIALOGUES = ("dialog-klg-sum", "dialog-klg", "dialog-sum", "dialog")
GENERATED, DST = "generated", "dst"
_NAME = re.compile(r"(?P<kind>.+?)_(?P<split>train|val|test)(?:_L(?P<length>\d+))?(?:_I(?P<tokens>\d+))?(?P<rest>.*)")


@dataclass(frozen=True)
class RowsFile:
    """A file of rows: its kind, split, limit of tokens (0: whole dialogues) and tokens a picture."""

    path: Path
    kind: str
    split: str
    length: int
    tokens: int

    @property
    def order(self) -> tuple[object, ...]:
        """Whole dialogues first, then the longest clips; of equal ones that of the fewest tokens a picture."""
        return (self.length != 0, -self.length, self.tokens, self.path.name)


def find_proassist_tree_files(subset: Path) -> list[RowsFile]:
    """Every file of rows in a subset's folder."""
    found = [file for path in sorted((subset / "prepared").glob("*.jsonl")) if (file := _prepared(path))]
    for split in SPLITS:
        # `SPLIT_filtered.json` is what the scripts go on with; `SPLIT.json` has every dialogue
        generated = [subset / "generated_dialogs" / f"{split}{ending}.json" for ending in ("_filtered", "")]
        found += [RowsFile(path, GENERATED, split, 0, 0) for path in generated if path.is_file()][:1]
        clips = subset / f"{split}.json"
        if clips.is_file():
            found.append(RowsFile(clips, DST, split, 0, 0))
    return found


def choose_proassist_tree_files(files: Sequence[RowsFile], split: str, kinds: Sequence[str]) -> list[RowsFile]:
    """The files to read of a split: one of each kind that is asked for; without any, of the best kind of dialogue."""
    here = sorted((file for file in files if file.split == split), key=lambda file: file.order)
    if kinds:
        return [next(file for file in here if file.kind == kind) for kind in kinds if kind in {f.kind for f in here}]
    dialogues = [file for file in here if file.kind in DIALOGUES]
    if dialogues:
        whole = [file for file in dialogues if file.length == 0] or dialogues
        return [min(whole, key=lambda file: (DIALOGUES.index(file.kind), file.order))]
    others = [file for kind in (GENERATED, DST) for file in here if file.kind == kind]
    return others[:1]


def require_proassist_tree_file_kinds(tree: Path, files: Iterable[RowsFile], kinds: Sequence[str]) -> None:
    """A kind that the tree does not have is a `UserError` that lists those it has."""
    there = sorted({file.kind for file in files})
    for kind in kinds:
        if kind not in there:
            raise UserError(f"--kind {kind}: {tree} has {', '.join(there) or 'no rows'}{did_you_mean(kind, there)}")


def _prepared(path: Path) -> RowsFile | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    return RowsFile(path, match["kind"], match["split"], int(match["length"] or 0), int(match["tokens"] or 0))
