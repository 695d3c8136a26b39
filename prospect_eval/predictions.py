"""Predictions that others made, as a run folder: prediction records, and ProAssist's prediction files. No model needed.

    prospect-eval score predictions.jsonl --output runs/theirs
    prospect-eval score proassist/eval/results --data data/assembly --output runs/proassist

Read are a file of records (JSON, a list of them, or one a line) as `prospect_core.records` describes them, a folder of
such files, and ProAssist's ``results/*.json``, one stream each with ``gen`` and ``ref`` by frame. A ProAssist stream
is held against the episode of ``--data`` with its references on its frames (steps, questions and slots then count
too), or, without ``--data``, against the references that the file carries.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prospect_core.data.video import MAX_HOURS
from prospect_core.errors import DataError, UserError
from prospect_core.jsonio import decode, dump, load, read_limited
from prospect_core.records import SCHEMA, EpisodeRecord, Knobs, PredictedUtterance, has_words
from prospect_core.timeline import Episode, Event, EventKind, Task, TimelineError

#: ProAssist samples its videos at this rate
PROASSIST_FPS = 2
#: a rate above this does not make an episode of more frames shorter
MAX_FPS = 240
#: the error of an episode of the data that has no prediction
MISSING = "the predictions have no such episode"


def read_predictions(path: Path, episodes: Sequence[Episode] = ()) -> tuple[list[EpisodeRecord], str]:
    """Records of a file or a folder, by episode id, and the digest of what was read."""
    files = sorted(path.glob("*.json*")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: holds no .json or .jsonl file")
    digest = hashlib.sha256()
    records: dict[str, EpisodeRecord] = {}
    for file in files:
        data = read_limited(file)
        digest.update(data)
        for where, item in _items(file, data):
            record = from_proassist(item, where, episodes) if "predictions" in item else _record(item, where, episodes)
            if record.episode.id in records:
                raise DataError(f"{where}: episode {record.episode.id} was predicted before; each may stand once")
            problems = record.problems() if record.status == "ok" else []
            if problems:
                raise DataError(f"{where}: {problems[0]}")
            require_scorable(record, where)
            records[record.episode.id] = record
    if not records:
        raise DataError(f"{path}: holds no prediction")
    models = sorted({record.model for record in records.values()})
    if len(models) > 1:
        raise DataError(f"{path}: predictions of {len(models)} models ({', '.join(models[:4])}); score each apart")
    return [records[key] for key in sorted(records)], digest.hexdigest()


def _items(file: Path, data: bytes) -> list[tuple[str, dict[str, Any]]]:
    if file.suffix == ".jsonl":
        lines = [(f"{file}: row {n}", line) for n, line in enumerate(data.split(b"\n"), 1) if line.strip()]
        found = [(where, decode(line, where)) for where, line in lines]
    else:
        value = decode(data, str(file))
        several = isinstance(value, list)
        found = [(f"{file}: item {n}", v) for n, v in enumerate(value)] if several else [(str(file), value)]
    for where, item in found:
        if not isinstance(item, dict):
            raise DataError(f"{where}: {type(item).__name__} is neither a prediction record nor a ProAssist stream")
    return found


def _record(item: dict[str, Any], where: str, episodes: Sequence[Episode]) -> EpisodeRecord:
    record = load(EpisodeRecord, dump(item), where)
    given = next((e for e in episodes if e.id == record.episode.id), None)
    if episodes and given != record.episode:
        what = "is not in the data" if given is None else "is not the one in the data"
        raise DataError(f"{where}: episode {record.episode.id} {what}; leave --data out to score it as it stands")
    return record


def from_proassist(item: dict[str, Any], where: str, episodes: Sequence[Episode] = ()) -> EpisodeRecord:
    """A ProAssist stream as a record. Frames are those of the stream, moved to the episode's first frame."""
    frames, meta = item["predictions"], item.get("metadata") or {}
    try:
        if not isinstance(meta, dict):
            raise TypeError(f"metadata is {type(meta).__name__}")
        fps = _rate(meta.get("fps"))
        said = [(_frame_of(f), _text_of(f, "gen")) for f in frames]
        due = [(_frame_of(f), _text_of(f, "ref")) for f in frames]
        asked = [
            (_frame_of(f), str(text)) for f in frames for role, text in f.get("text_inputs") or () if role == "user"
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: not a ProAssist prediction file ({type(error).__name__} {error})") from error
    if not said:
        raise DataError(f"{where}: holds no frame")
    references = [(frame, text) for frame, text in due if text]
    if episodes:
        episode = _episode_with(references, [text for _, text in asked], episodes, where)
    else:
        episode = _episode_of(meta, fps, references, asked, max(frame for frame, _ in said) + 1, where)
    start = episode.start_frame
    utterances = tuple(PredictedUtterance(start + frame, text) for frame, text in sorted(said) if text)
    return EpisodeRecord(SCHEMA, str(meta.get("model") or "proassist"), Knobs(), episode, utterances=utterances)


def _rate(value: Any) -> float:
    """Frames a second of a stream; `PROASSIST_FPS` where it names none."""
    rate = float(PROASSIST_FPS if value is None else value)
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"fps {value}: must be a number above 0")
    return rate


def _frame_of(entry: dict[str, Any]) -> int:
    """The frame index of an entry, a whole number from 0."""
    value = entry["frame_idx_in_stream"]
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 0:
        raise ValueError(f"frame_idx_in_stream {value!r}: must be a whole number from 0")
    return int(value)


def _text_of(entry: dict[str, Any], key: str) -> str:
    """A text of an entry, empty for silence."""
    value = entry[key]
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} {value!r}: must be a text or null")
    return (value or "").strip()


def require_scorable(record: EpisodeRecord, where: str) -> None:
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
        if not has_words(utterance.text) and utterance.text not in accepted:
            raise DataError(
                f"{where}: the utterance {utterance.text!r} on frame {utterance.frame} holds no word; leave it out (silence is"
                " no utterance) or give its text"
            )


def _episode_with(
    references: list[tuple[int, str]], asked: list[str], episodes: Sequence[Episode], where: str
) -> Episode:
    fitting = [e for e in episodes if [(u.frame - e.start_frame, u.text) for u in e.utterances()] == references]
    if len(fitting) > 1:
        fitting = [e for e in fitting if [event.text for _, event in e.user_turns()] == asked] or fitting
    if len(fitting) != 1:
        raise DataError(
            f"{where}: {len(fitting) or 'no'} episode(s) of the data have its {len(references)} references on its frames;"
            " leave --data out to score against the references in the file"
        )
    return fitting[0]


def _episode_of(
    meta: dict[str, Any],
    fps: float,
    references: list[tuple[int, str]],
    asked: list[tuple[int, str]],
    length: int,
    where: str,
) -> Episode:
    video = str(meta.get("video_uid") or where)
    # what the user says is given with a frame: it came right after the one before
    turns: list[tuple[int, int, EventKind, str]] = [(max(0, frame - 1), 0, "user", text) for frame, text in asked]
    turns += [(frame, 1, "assistant", text) for frame, text in references]
    events = tuple(
        Event(f"t{k}", frame / fps, kind, text, frame=frame) for k, (frame, _, kind, text) in enumerate(sorted(turns))
    )
    name = ".".join(str(meta[key]) for key in ("video_uid", "user_type", "sample_idx") if meta.get(key) is not None)
    try:
        return Episode(
            name or where, video, fps, 0, length, Task(str(meta.get("task_goal") or "")), events,
            user_type=str(meta.get("user_type") or ""), dataset=str(meta.get("dataset") or ""), file_order=True,
        ).validate()  # fmt: skip
    except TimelineError as error:
        raise DataError(f"{where}: {error}") from error


def missing_records(records: Sequence[EpisodeRecord], episodes: Sequence[Episode]) -> list[EpisodeRecord]:
    """A failed record for each episode of the data that has no prediction."""
    given = {record.episode.id for record in records}
    model, knobs = records[0].model, records[0].knobs
    return [
        EpisodeRecord(SCHEMA, model, knobs, episode, status="failed", error=MISSING)
        for episode in episodes
        if episode.id not in given
    ]


def store_predictions(
    path: Path, folder: Path, episodes: Sequence[Episode], data: str, data_digest: str, split: str
) -> list[str]:
    """Read predictions and lay them out as a run folder, ready to be scored. A folder in use is refused.

    Episodes of the data without a prediction become failed records, which count as the worst value.

    Returns:
        The ids of these episodes.
    """
    from prospect_core.jsonio import write_atomic
    from prospect_eval.provenance import code_digest
    from prospect_eval.run import RunConfig, held, open_folder, record_path

    records, digest = read_predictions(path, episodes)
    missing = missing_records(records, episodes)
    if folder.resolve() == path.resolve():
        raise UserError(f"--output {folder}: is the folder of the predictions themselves; choose another one")
    config = RunConfig(records[0].model, digest, data, data_digest, split, None, records[0].knobs, code_digest())
    with held(folder):
        open_folder(folder, config)
        for record in [*records, *missing]:
            write_atomic(record_path(folder, record.episode.id), dump(record))
    return [record.episode.id for record in missing]
