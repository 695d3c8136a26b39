"""Choose the files of ProAssist's published tree that hold the rows of a split.

    TREE/SUBSET/prepared/KIND_SPLIT_L4096_I*.jsonl     clips of at most 4096 tokens: training, and its loss on val and test
    TREE/SUBSET/prepared/KIND_SPLIT_L0_I*.jsonl        whole dialogues, one per row: evaluation (val and test only)
    TREE/SUBSET/generated_dialogs/SPLIT_filtered.json  dialogues before they became rows, of kind ``generated``
    TREE/SUBSET/SPLIT.json                             clips of the DST extension, of kind ``dst``

``I`` is the number of tokens per picture; the boundaries of clips depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prospect_core.util.errors import UserError, did_you_mean

SPLITS = ("train", "val", "test")
#: kinds of dialogues, best first: ``klg`` has the steps to take, ``sum`` has progress summaries
#: (``L0`` rows never do)
DIALOGUES = ("dialog-klg-sum", "dialog-klg", "dialog-sum", "dialog")
GENERATED, DST = "generated", "dst"
_NAME = re.compile(r"(?P<kind>.+?)_(?P<split>train|val|test)(?:_L(?P<length>\d+))?(?:_I(?P<tokens>\d+))?(?P<rest>.*)")


@dataclass(frozen=True)
class RowsFile:
    """A file of rows.

    Attributes:
        path: The file.
        kind: Kind of its rows.
        split: Split of its rows.
        length: Token limit per row; 0 means whole dialogues.
        tokens: Tokens per picture.
    """

    path: Path
    kind: str
    split: str
    length: int
    tokens: int

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key: whole dialogues first, then longer clips, then fewer tokens per picture."""
        return (self.length != 0, -self.length, self.tokens, self.path.name)


def find_proassist_tree_files(subset: Path) -> list[RowsFile]:
    """List every file of rows in a subset's folder."""
    found = [file for path in sorted((subset / "prepared").glob("*.jsonl")) if (file := _prepared(path))]
    for split in SPLITS:
        # ProAssist's scripts use `SPLIT_filtered.json`; `SPLIT.json` has every dialogue
        generated = [subset / "generated_dialogs" / f"{split}{ending}.json" for ending in ("_filtered", "")]
        found += [RowsFile(path, GENERATED, split, 0, 0) for path in generated if path.is_file()][:1]
        clips = subset / f"{split}.json"
        if clips.is_file():
            found.append(RowsFile(clips, DST, split, 0, 0))
    return found


def choose_proassist_tree_files(files: Sequence[RowsFile], split: str, kinds: Sequence[str]) -> list[RowsFile]:
    """Choose the files to read for a split.

    Args:
        files: Files of one subset.
        split: Name of the split.
        kinds: Wanted kinds, one file each; the best kind of dialogue if empty.
    """
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
    """Check that the tree has files of every wanted kind.

    Raises:
        UserError: Lists the kinds that the tree has.
    """
    there = sorted({file.kind for file in files})
    for kind in kinds:
        if kind not in there:
            raise UserError(f"--kind {kind}: {tree} has {', '.join(there) or 'no rows'}{did_you_mean(kind, there)}")


def _prepared(path: Path) -> RowsFile | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    return RowsFile(path, match["kind"], match["split"], int(match["length"] or 0), int(match["tokens"] or 0))
