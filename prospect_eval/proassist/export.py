"""Write a run folder as ProAssist's evaluation folders, one for each dataset.

prospect-eval export runs/first --format proassist --output proassist

OUTPUT/DATASET/stream/notalk0.5-maxlen_600-drop_middle/
    results/0.json                        one stream: metadata, predictions, match_result, dst_predictions, prospect_record
    frames/CLIP/frame_predictions.csv     the table of the DST extension, one row for each frame
    all_results.json, metrics.json        pairs and published scores of all streams
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prospect_core.records import EpisodeRecord
from prospect_core.stream.proassist_outputs import (
    DST,
    Frames,
    make_proassist_outputs,
    proassist_output_clip_name,
    proassist_output_silence_threshold,
)
from prospect_core.util.atomic import atomic_folder, write_atomic
from prospect_core.util.json_io import dump_json
from prospect_eval.matching.matcher import Similarity
from prospect_eval.metrics.published_scores import (
    Stream,
    all_results_for_published_scores,
    compute_published_scores,
    group_streams_for_published_scores,
    match_result_for_published_scores,
)

#: the columns of ``frame_predictions.csv``, as published
COLUMNS = (
    "frame_idx",
    "gt_speaking",
    "pred_speaking",
    "pred_speaking_prob",
    "pred_response",
    "gt_response",
    "gt_dst_update",
    "pred_dst_update",
    "pred_dst_prob",
    "pred_dst_updates",
    "gt_dst_updates",
)
#: longest name of a folder
LONGEST_NAME = 150


@dataclass(frozen=True)
class Exported:
    """One written evaluation folder.

    Attributes:
        folder: The folder.
        streams: Number of streams in it.
    """

    folder: Path
    streams: int


def export_proassist(records: Sequence[EpisodeRecord], output: Path, similarity: Similarity) -> list[Exported]:
    """Write records as ProAssist's evaluation folders.

    Args:
        records: Prediction records of one or more datasets.
        output: A folder that does not exist yet. It appears complete or not at all.
        similarity: Cosines for the match results.

    Returns:
        One entry for each dataset, sorted by name.

    Raises:
        UserError: The folder exists.
    """
    exported = []
    with atomic_folder(output) as scratch:
        for dataset, streams in group_streams_for_published_scores(
            [Stream(record, similarity) for record in records]
        ).items():
            place = Path(_folder_name(dataset) or "unnamed") / "stream" / _setup_name(streams[0].record)
            _write_dataset(scratch / place, streams)
            exported.append(Exported(output / place, len(streams)))
    return exported


def _folder_name(text: str) -> str:
    """Return a legal folder name that is close to the text."""
    name = quote(text.replace("/", "-"), safe=" ")
    return name[:LONGEST_NAME].strip(" .") or quote(text, safe="")[:LONGEST_NAME]


def _setup_name(record: EpisodeRecord) -> str:
    """Return the published name of a setup: silence threshold, longest context, context strategy."""
    limit = "none" if record.knobs.budget is None else record.knobs.budget
    name = f"notalk{proassist_output_silence_threshold(record):g}-maxlen_{limit}"
    return name if record.knobs.strategy == "summarize_and_drop" else f"{name}-{record.knobs.strategy}"


def _write_dataset(folder: Path, streams: Sequence[Stream]) -> None:
    (folder / "results").mkdir(parents=True)
    results = []
    for sample, stream in enumerate(streams):
        contents = make_proassist_outputs(stream.record, sample)
        result = match_result_for_published_scores(stream, contents["predictions"])
        results.append(result)
        write_atomic(
            folder / "results" / f"{sample}.json", dump_json({**contents, "match_result": result}, indent=1) + "\n"
        )
        table = folder / "frames" / _folder_name(proassist_output_clip_name(stream.record.episode))
        if table.exists():
            table = table.with_name(f"{table.name}-{sample}")
        table.mkdir(parents=True)
        write_atomic(table / "frame_predictions.csv", _table(contents["predictions"], contents[DST]))
    write_atomic(
        folder / "all_results.json", dump_json(all_results_for_published_scores(streams, results), indent=1) + "\n"
    )
    write_atomic(folder / "metrics.json", dump_json(compute_published_scores(streams), indent=1) + "\n")


def _table(frames: Frames, dst: Frames) -> str:
    """Return ``frame_predictions.csv``; unknown values are empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for frame, more in zip(frames, dst, strict=True):
        writer.writerow(_row(frame, more))
    return text.getvalue()


def _row(frame: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {
        "frame_idx": frame["frame_idx_in_stream"],
        "gt_speaking": int(bool(frame["ref"])),
        "pred_speaking": more["speaking"],
        "pred_speaking_prob": more["speaking_prob"],
        "pred_response": frame["gen"],
        "gt_response": frame["ref"],
        "gt_dst_update": int(bool(more["dst_update_ref"])),
        "pred_dst_update": more["dst_update_binary"],
        "pred_dst_prob": more["dst_prob"],
        "pred_dst_updates": more["dst_update"],
        "gt_dst_updates": more["dst_update_ref"],
    }
