"""Every frame of a run as one table: ``frames.parquet`` in the run folder, for pandas and DuckDB.

    duckdb -c "select episode, avg(joint_goal) from 'runs/first/frames.parquet' group by episode"

The table has one row for each frame, in the order of episodes and time. A value that the model does
not give (such as a baseline's probabilities) is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prospect_core.records import EpisodeRecord
from prospect_core.util.atomic import atomic_file
from prospect_core.util.errors import DataError
from prospect_eval.metrics import Scored, ScoringResources

if TYPE_CHECKING:
    import pandas
    import pyarrow

FILE = "frames.parquet"
#: type and meaning of each column
COLUMNS = {
    "episode": ("string", "id of the episode"),
    "video": ("string", "video of the episode"),
    "frame": ("int32", "number of the frame in the video"),
    "time_s": ("float64", "time in the video in seconds"),
    "speaking_prob": ("float32", "speaking probability, 0 to 1"),
    "update_prob": ("float32", "update probability, 0 to 1"),
    "speaks": ("bool", "the model speaks"),
    "speaks_reference": ("bool", "the reference speaks"),
    "updates": ("bool", "the model changes a step state"),
    "updates_reference": ("bool", "the reference changes a step state"),
    "joint_goal": ("bool", "all steps right, from the state tracker; null without steps"),
    "head_joint_goal": ("bool", "all steps right, from the model's state head; null without one"),
    "cache_tokens": ("int32", "tokens in the context"),
    "cache_bytes": ("int64", "bytes of the KV cache"),
}


def write_frame_table(folder: Path, records: Sequence[EpisodeRecord], resources: ScoringResources) -> Path:
    """Write the frames of all scored records. The same records give the same file.

    Args:
        folder: The run folder.
        records: The records; failed ones are left out.
        resources: Resources for scoring.

    Returns:
        The file, which appears complete or not at all.
    """
    import pyarrow.parquet as parquet

    path = folder / FILE
    good = [record for record in records if record.status == "ok"]
    table = frame_table([Scored(record, resources) for record in good])
    with atomic_file(path) as file:
        parquet.write_table(table, file, compression="zstd")
    return path


def frame_table(scored: Sequence[Scored]) -> pyarrow.Table:
    """Return the table with the columns `COLUMNS`."""
    import pyarrow

    schema = pyarrow.schema(
        [(name, getattr(pyarrow, f"{kind}_" if kind == "bool" else kind)()) for name, (kind, _) in COLUMNS.items()]
    )
    parts = [pyarrow.table(_columns(item), schema=schema) for item in scored]
    return pyarrow.concat_tables(parts) if parts else schema.empty_table()


def read_frame_table_as_pandas(run: str | Path) -> pandas.DataFrame:
    """Read the frames of a run folder as a pandas data frame.

        frames = read_frame_table_as_pandas("runs/first")
        frames.groupby("episode").joint_goal.mean()

    Args:
        run: The run folder.

    Raises:
        DataError: The run folder has no such file, or pandas is not installed.
    """
    path = Path(run) / FILE
    if not path.is_file():
        raise DataError(f"{path}: no such file; run `prospect-eval score {run}`")
    try:
        import pandas
    except ImportError as error:
        raise DataError("to_pandas needs the package pandas: pip install 'prospect-suite[pandas]'") from error
    return pandas.read_parquet(path)


def _columns(item: Scored) -> dict[str, Any]:
    record, episode = item.record, item.record.episode
    count, first = episode.num_frames, episode.start_frame
    frames = np.arange(first, first + count)
    steps = bool(episode.task.steps)
    head = item.head_states
    return {
        "episode": [episode.id] * count,
        "video": [episode.video] * count,
        "frame": frames,
        "time_s": frames / episode.fps,
        "speaking_prob": record.speaking_prob or [None] * count,
        "update_prob": record.update_prob or [None] * count,
        "speaks": np.isin(frames, [u.frame for u in record.utterances]),
        "speaks_reference": item.speaking_labels,
        "updates": np.isin(frames, [t.frame for t in record.transitions]),
        "updates_reference": item.update_labels,
        "joint_goal": (item.tracked_states == item.reference_states).all(1) if steps else [None] * count,
        "head_joint_goal": (head == item.reference_states).all(1) if steps and head is not None else [None] * count,
        "cache_tokens": record.cache_tokens or [None] * count,
        "cache_bytes": record.cache_bytes or [None] * count,
    }
