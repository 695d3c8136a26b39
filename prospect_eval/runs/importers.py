"""Predictions that others made, as a run folder: prediction records, and ProAssist's prediction files. No model needed.

    prospect-eval score predictions.jsonl --output runs/theirs
    prospect-eval score proassist/eval --data data/assembly --output runs/proassist

Read are a file of records (JSON, a list of them, or one a line) as `prospect_core.records` describes them, a folder of
such files, and ProAssist's: ``results/*.json``, one stream each with ``gen`` and ``ref`` by frame, or the DST extension's
``frame_predictions.csv``, alone or in the evaluation folder that holds them. A ProAssist stream is held against the
episode of ``--data`` with its references on its frames (steps, questions and slots then count too), or, without
``--data``, against the references that the file carries.
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

#: the table of the DST extension
TABLE = "frame_predictions.csv"
#: files of an evaluation folder that hold no stream
DERIVED = ("all_results.json", "metrics.json", "args.json", "llm_eval*.json")
#: a rate above this does not make an episode of more frames shorter
MAX_FPS = 240
#: the error of an episode of the data that has no prediction
MISSING = "the predictions have no such episode"


def read_imported_predictions(
    path: Path, episodes: Sequence[Episode] = (), tell: Tell = lambda line: None
) -> tuple[list[EpisodeRecord], str]:
    """Records of a file or a folder, by episode id, and the digest of what was read.

    Args:
        path: A file, a folder of such files, or an evaluation folder of ProAssist's.
        episodes: The data that the predictions are about.
        tell: Called with a line about anything that is left out.

    Raises:
        DataError: Nothing can be read there, or what is read contradicts itself or the data.
    """
    files = [path] if not path.is_dir() else list_import_files(path, tell)
    digest = hashlib.sha256()
    records: dict[str, EpisodeRecord] = {}
    for file in files:
        data = read_limited_json_bytes(file)
        digest.update(data)
        for where, record in _records(file, data, episodes, tell):
            if record.episode.id in records:
                raise DataError(f"{where}: episode {record.episode.id} was predicted before; each may stand once")
            problems = record.problems() if record.status == "ok" else []
            if problems:
                raise DataError(f"{where}: {problems[0]}")
            require_scorable_import(record, where)
            records[record.episode.id] = record
    if not records:
        raise DataError(f"{path}: holds no prediction")
    models = sorted({record.model for record in records.values()})
    if len(models) > 1:
        raise DataError(f"{path}: predictions of {len(models)} models ({', '.join(models[:4])}); score each apart")
    return [records[key] for key in sorted(records)], digest.hexdigest()


def list_import_files(folder: Path, tell: Tell = lambda line: None) -> list[Path]:
    """The files of a folder that hold predictions: those in it, or else those of the evaluation folders below it."""
    for pattern in ("*.json*", "**/results/*.json", f"**/{TABLE}"):
        found = [
            file
            for file in sorted(folder.glob(pattern))
            if file.is_file() and not file.name.startswith(".") and not any(map(file.match, DERIVED))
        ]
        if not found:
            continue
        tables = [] if pattern.endswith(TABLE) else list(folder.glob(f"**/{TABLE}"))
        # an exported evaluation folder holds every stream in both forms
        if len(tables) > len(found):
            tell(
                f"{folder}: holds {len(tables)} {TABLE} and {format_count(len(found), 'result file')}; only these are read"
            )
        return found
    raise DataError(f"{folder}: holds no .json or .jsonl file, no results/*.json and no {TABLE}")


def _records(file: Path, data: bytes, episodes: Sequence[Episode], tell: Tell) -> Iterator[tuple[str, EpisodeRecord]]:
    """The records of a file, each with the beginning of its error lines."""
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
                f"{where}: references that wait for the frame after a user turn at the same time: {len(moved)}, the first on"
                f" frame {moved[0]}; a user text that was read with frame i has the time (i - 1) / fps"
            )
        yield where, record


def find_delayed_import_references(episode: Episode) -> list[int]:
    """The frames of references that are later than their own time or frame number, since a user turn shares it."""
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
        what = "is not in the data" if given is None else "is not the one in the data"
        raise DataError(f"{where}: episode {record.episode.id} {what}; leave --data out to score it as it stands")
    return record


def _named(record: EpisodeRecord, dataset: str) -> EpisodeRecord:
    """The record with its data set named where it names none."""
    if record.episode.dataset:
        return record
    return replace(record, episode=replace(record.episode, dataset=dataset))


def require_scorable_import(record: EpisodeRecord, where: str) -> None:
    """Refuse what a person would not notice in the scores: utterances without a word, episodes of months.

    A text without words that the reference itself holds may be said.

    Raises:
        DataError: The record has either.
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
                f"{where}: the utterance {utterance.text!r} on frame {utterance.frame} holds no word; leave it out (silence is"
                " no utterance) or give its text"
            )


def make_missing_import_records(records: Sequence[EpisodeRecord], episodes: Sequence[Episode]) -> list[EpisodeRecord]:
    """A failed record for each episode of the data that has no prediction."""
    given = {record.episode.id for record in records}
    model, knobs = records[0].model, records[0].knobs
    return [
        EpisodeRecord(SCHEMA, model, knobs, episode, status="failed", error=MISSING)
        for episode in episodes
        if episode.id not in given
    ]


@dataclass(frozen=True)
class ImportedRun:
    """What was laid out as a run folder: ids of the episodes of the data without a prediction, how many records there
    were, and how many of them name no data set."""

    missing: tuple[str, ...]
    records: int
    unnamed: int

    def window_note(self, match: MatchSettings) -> str:
        """A line on the matching window of the records that name no data set; empty where a window is given."""
        if not self.unnamed or match.window_s is not None:
            return ""
        late, early = match.window("")
        return (
            f"{self.unnamed} of {format_count(self.records, 'stream')} name no data set: matched within {late:g} s late and"
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
    """Read predictions and lay them out as a run folder, ready to be scored. A folder in use is refused.

    Episodes of the data without a prediction become failed records, which count as the worst value. ``dataset`` is the
    data set of streams that name none; ``tell`` is called with a line about anything that is left out.
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
        raise UserError(f"--output {folder}: is the folder of the predictions themselves; choose another one")
    config = RunConfig(
        records[0].model, digest, data, data_digest, split, None, records[0].knobs, digest_environment_code()
    )
    with hold_run_folder(folder):
        open_run_folder(folder, config)
        for record in [*records, *missing]:
            write_atomic(run_folder_record_path(folder, record.episode.id), dump_json(record))
    unnamed = sum(not record.episode.dataset for record in records)
    return ImportedRun(tuple(record.episode.id for record in missing), len(records), unnamed)
