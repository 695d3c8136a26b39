"""Read and write ProAssist's stored vision features: Arrow streams with columns ``cls``, ``2x2``, ``3x3``, ..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prospect_core.data.video import read_video_arrow_file
from prospect_core.util.errors import DataError, UserError


def proassist_feature_columns(tokens: int) -> tuple[str, ...]:
    """Return the columns that hold ``tokens`` tokens per frame.

    1 is ``cls``, 1 + N*N is ``cls`` and ``NxN``, and N*N is ``NxN``.

    Raises:
        UserError: If no columns give that number.
    """
    if tokens == 1:
        return ("cls",)
    for side in range(2, 33):
        if tokens == side * side:
            return (f"{side}x{side}",)
        if tokens == side * side + 1:
            return ("cls", f"{side}x{side}")
    raise UserError(f"{tokens} tokens per frame: use 1, N*N or N*N + 1")


def read_proassist_features(path: Path, tokens: int) -> np.ndarray:
    """Read features and concatenate their columns on the token axis, as ProAssist does.

    Args:
        path: An Arrow file.
        tokens: Tokens per frame.

    Returns:
        Features of shape (frames, tokens, width), float32.

    Raises:
        DataError: If a column does not hold the expected number of tokens.
        UserError: If no columns give that number of tokens.
    """
    names = proassist_feature_columns(tokens)
    columns = read_video_arrow_file(Path(path), *names)
    parts = []
    for name in names:
        rows = np.asarray(columns[name].to_pylist(), dtype=np.float32)
        side = 1 if name == "cls" else int(name.split("x")[0]) ** 2
        if rows.size == 0 or rows.reshape(len(rows), -1).shape[1] % side:
            raise DataError(f"{path}: column {name!r} does not hold {side} token(s) a row")
        parts.append(rows.reshape(len(rows), side, -1))
    return np.concatenate(parts, axis=1)


def write_proassist_features(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write features as float16 lists, one column each.

    Args:
        path: Output file.
        columns: By name, an array of shape (frames, width) or (frames, tokens, width).
    """
    import pyarrow as pa

    arrays = [pa.array([row.ravel() for row in np.asarray(a, dtype=np.float16)]) for a in columns.values()]
    batch = pa.record_batch(arrays, names=list(columns))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)


@dataclass(frozen=True)
class PublishedFeatures:
    """Features of one subset from one encoder: ``features/{model, / as ___}@{layer}/VIDEO.arrow``.

    Attributes:
        model: Name of the encoder.
        layer: Layer in the folder's name. The published encoder ignores it and returns its last
            layer.
        folder: Folder of the files.
    """

    model: str
    layer: str
    folder: Path

    @property
    def videos(self) -> list[str]:
        """Names of the recordings that have a file."""
        return sorted(path.stem for path in self.folder.glob("*.arrow"))

    def read(self, video: str, tokens: int) -> np.ndarray:
        """Read the features of a recording: (frames, tokens, width), float32."""
        return read_proassist_features(self.folder / f"{video}.arrow", tokens)


def find_proassist_features(subset: Path) -> list[PublishedFeatures]:
    """Find the features in a subset's folder of ProAssist's tree, one entry per encoder."""
    found = []
    for folder in sorted((Path(subset) / "features").glob("*@*")):
        if folder.is_dir():
            model, _, layer = folder.name.rpartition("@")
            found.append(PublishedFeatures(model.replace("___", "/"), layer, folder))
    return found
