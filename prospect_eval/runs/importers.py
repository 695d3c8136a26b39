"""Import predictions of other programs as a run folder: prediction records and ProAssist's files.

    prospect-eval score predictions.jsonl --output runs/theirs
    prospect-eval score proassist/eval --data data/assembly --output runs/proassist

No model is needed. The input is one of:

- a file of records (JSON, a list of them, or one per line) in the format of
  `prospect_core.records`;
- a folder of such files;
- ProAssist's ``results/*.json``, one stream each with ``gen`` and ``ref`` by frame;
- the DST extension's ``frame_predictions.csv``, alone or in an evaluation folder.

With ``--data``, a ProAssist stream is compared with the episode that has the same references on the
same frames; steps, questions and slots are then scored too. Without ``--data`` it is compared with
the references in the file.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prospect_core.data.video import MAX_HOURS
from prospect_core.records import SCHEMA, EpisodeRecord, utterance_has_words
from prospect_core.timeline import Episode, frame_floor
from prospect_core.util.console import format_count
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json, load_json, parse_json, read_limited_json_bytes
from prospect_eval.matching.settings import MatchSettings
from prospect_eval.runs.proassist_results import Tell, read_proassist_result_stream, read_proassist_result_table

#: table of the DST extension
TABLE = "frame_predictions.csv"
#: files of an evaluation folder that are not streams
DERIVED = ("all_results.json", "metrics.json", "args.json", "llm_eval*.json")
#: frames per second above this value do not extend the accepted number of frames
MAX_FPS = 240
#: error of an episode of the data without a prediction
MISSING = "the predictions lack this episode"


def read_imported_predictions(
    path: Path, episodes: Sequence[Episode] = (), tell: Tell = lambda line: None
) -> tuple[list[EpisodeRecord], str]:
    """Read the records of a file or a folder.

    Args:
        path: A file, a folder of such files, or an evaluation folder of ProAssist.
        episodes: The data of the predictions.
        tell: Called with a message about anything that is left out.

    Returns:
        The records by episode id, and the digest of the files.

    Raises:
        DataError: There is nothing to read, or a prediction contradicts itself or the data.
    """
    files = [path] if not path.is_dir() else list_import_files(path, tell)
    digest = hashlib.sha256()
    records: dict[str, EpisodeRecord] = {}
    for file in files:
        data = read_limited_json_bytes(file)
        digest.update(data)
        for where, record in _records(file, data, episodes, tell):
            if record.episode.id in records:
                raise DataError(f"{where}: episode {record.episode.id} is predicted twice; remove one prediction")
            problems = record.problems() if record.status == "ok" else []
            if problems:
                raise DataError(f"{where}: {problems[0]}")
            require_scorable_import(record, where)
            records[record.episode.id] = record
    if not records:
        raise DataError(f"{path}: holds no predictions")
    models = sorted({record.model for record in records.values()})
    if len(models) > 1:
        raise DataError(f"{path}: predictions of {len(models)} models ({', '.join(models[:4])}); score each separately")
    return [records[key] for key in sorted(records)], digest.hexdigest()


def list_import_files(folder: Path, tell: Tell = lambda line: None) -> list[Path]:
    """List the files of a folder that hold predictions.

    These are files in the folder, or otherwise files of evaluation folders below it.

    Args:
        folder: The folder.
        tell: Called with a message about files that are left out.

    Raises:
        DataError: There are none.
    """
    for pattern in ("*.json*", "**/results/*.json", f"**/{TABLE}"):
        found = [
            file
            for file in sorted(folder.glob(pattern))
            if file.is_file() and not file.name.startswith(".") and not any(map(file.match, DERIVED))
        ]
        if not found:
            continue
        tables = [] if pattern.endswith(TABLE) else list(folder.glob(f"**/{TABLE}"))
        # an exported evaluation folder has every stream in both formats
        if len(tables) > len(found):
            tell(
                f"{folder}: holds {len(tables)} {TABLE} and {format_count(len(found), 'result file')}; no other files are read"
            )
        return found
    raise DataError(f"{folder}: holds no .json or .jsonl file, no results/*.json and no {TABLE}")


def _records(file: Path, data: bytes, episodes: Sequence[Episode], tell: Tell) -> Iterator[tuple[str, EpisodeRecord]]:
    """Yield the records of a file, each with the prefix of its error messages."""
    if file.suffix.lower() == ".csv":
        yield str(file), read_proassist_result_table(data, file, episodes, tell)
        return
    for where, item in _items(file, data):
        if "predictions" in item:
            yield where, read_proassist_result_stream(item, where, episodes, tell)
            continue
        record = _record(item, where, episodes)
        if moved := find_delayed_import_references(record.episode):
            tell(
                f"{where}: references moved to the frame after a user turn at the same time: {len(moved)}, the first on"
                f" frame {moved[0]}; the time of a user text that the model read with frame i is (i - 1) / fps"
            )
        yield where, record


def find_delayed_import_references(episode: Episode) -> list[int]:
    """Find references on later frames than their time or frame number.

    A user turn at the same time delays a reference.

    Args:
        episode: The episode.

    Returns:
        The frames of these references.
    """
    if episode.problems():
        return []
    last = episode.end_frame - 1
    return [
        decision.frame
        for decision in episode.decisions()
        if decision.event.kind == "assistant"
        and decision.frame > min(last, decision.event.frame if decision.event.frame is not None
                                 else frame_floor(decision.event.time, episode.fps))
    ]  # fmt: skip


def _items(file: Path, data: bytes) -> list[tuple[str, dict[str, Any]]]:
    if file.suffix == ".jsonl":
        lines = [(f"{file}: row {n}", line) for n, line in enumerate(data.split(b"\n"), 1) if line.strip()]
        found = [(where, parse_json(line, where)) for where, line in lines]
    else:
        value = parse_json(data, str(file))
        several = isinstance(value, list)
        found = [(f"{file}: item {n}", v) for n, v in enumerate(value)] if several else [(str(file), value)]
    for where, item in found:
        if not isinstance(item, dict):
            raise DataError(f"{where}: {type(item).__name__} is neither a prediction record nor a ProAssist stream")
    return found


def _record(item: dict[str, Any], where: str, episodes: Sequence[Episode]) -> EpisodeRecord:
    record = load_json(EpisodeRecord, dump_json(item), where)
    given = next((e for e in episodes if e.id == record.episode.id), None)
    if episodes and given != record.episode:
        what = "is not in the data" if given is None else "differs from the one in the data"
        raise DataError(
            f"{where}: episode {record.episode.id} {what}; remove --data to score it against its own reference"
        )
    return record


def _named(record: EpisodeRecord, dataset: str) -> EpisodeRecord:
    """Return the record with a dataset name if it has none."""
    if record.episode.dataset:
        return record
    return replace(record, episode=replace(record.episode, dataset=dataset))


def require_scorable_import(record: EpisodeRecord, where: str) -> None:
    """Check for errors that would not be visible in the scores.

    These are utterances without a word and episodes of months. An utterance without words is
    accepted if the reference contains it.

    Args:
        record: The record.
        where: Prefix of the error message.

    Raises:
        DataError: The record has such an error.
    """
    episode = record.episode
    if not (math.isfinite(episode.fps) and 0 < episode.num_frames <= MAX_HOURS * 3600 * min(episode.fps, MAX_FPS)):
        raise DataError(
            f"{where}: {episode.num_frames:,} frames at {episode.fps:g} fps are more than {MAX_HOURS} h; correct the frame"
            " numbers or the rate"
        )
    accepted = {text for turn in episode.utterances() for text in turn.wordings}
    for utterance in record.utterances:
        if not utterance_has_words(utterance.text) and utterance.text not in accepted:
            raise DataError(
                f"{where}: the utterance {utterance.text!r} on frame {utterance.frame} holds no word; remove it (silence is"
                " not an utterance) or give its text"
            )


def make_missing_import_records(records: Sequence[EpisodeRecord], episodes: Sequence[Episode]) -> list[EpisodeRecord]:
    """Make a failed record for each episode of the data without a prediction.

    Args:
        records: The records of the predictions.
        episodes: The episodes of the data.
    """
    given = {record.episode.id for record in records}
    model, knobs = records[0].model, records[0].knobs
    return [
        EpisodeRecord(SCHEMA, model, knobs, episode, status="failed", error=MISSING)
        for episode in episodes
        if episode.id not in given
    ]


@dataclass(frozen=True)
class ImportedRun:
    """Result of an import.

    Attributes:
        missing: Ids of the episodes of the data without a prediction.
        records: Number of records.
        unnamed: Number of records that name no dataset.
    """

    missing: tuple[str, ...]
    records: int
    unnamed: int

    def window_note(self, match: MatchSettings) -> str:
        """Return a message about the matching window of records without a dataset.

        Args:
            match: Parameters of the matching.

        Returns:
            The message; empty if a window is given or every record names a dataset.
        """
        if not self.unnamed or match.window_s is not None:
            return ""
        late, early = match.window("")
        return (
            f"{self.unnamed} of {format_count(self.records, 'stream')} name no dataset, so they are matched within {late:g} s late and"
            f" {early:g} s early; --dataset NAME or --window LATE,EARLY sets the window"
        )


def import_predictions(
    path: Path,
    folder: Path,
    episodes: Sequence[Episode],
    data: str,
    data_digest: str,
    split: str,
    dataset: str = "",
    tell: Tell = lambda line: None,
) -> ImportedRun:
    """Read predictions and write them as a run folder, ready to be scored.

    Episodes of the data without a prediction become failed records, which count as the worst value.

    Args:
        path: A file, a folder of such files, or an evaluation folder of ProAssist.
        folder: The run folder.
        episodes: The episodes of the data; empty without data.
        data: Folder or suite of the data.
        data_digest: Digest of the data.
        split: The split.
        dataset: Name of the dataset for streams that name none.
        tell: Called with a message about anything that is left out.

    Returns:
        Numbers of the imported and the missing records.

    Raises:
        UserError: The run folder is in use, holds another run, or is the folder of the predictions.
        DataError: A prediction cannot be read.
    """
    from prospect_core.util.atomic import write_atomic
    from prospect_eval.runs.environment import digest_environment_code
    from prospect_eval.runs.folder import RunConfig, hold_run_folder, open_run_folder, run_folder_record_path

    records, digest = read_imported_predictions(path, episodes, tell)
    if dataset:
        records = [_named(record, dataset) for record in records]
        digest = hashlib.sha256(f"{digest} {dataset}".encode()).hexdigest()
    missing = make_missing_import_records(records, episodes)
    if folder.resolve() == path.resolve():
        raise UserError(f"--output {folder}: is the folder of the predictions; choose another folder")
    config = RunConfig(
        records[0].model, digest, data, data_digest, split, None, records[0].knobs, digest_environment_code()
    )
    with hold_run_folder(folder):
        open_run_folder(folder, config)
        for record in [*records, *missing]:
            write_atomic(run_folder_record_path(folder, record.episode.id), dump_json(record))
    unnamed = sum(not record.episode.dataset for record in records)
    return ImportedRun(tuple(record.episode.id for record in missing), len(records), unnamed)
