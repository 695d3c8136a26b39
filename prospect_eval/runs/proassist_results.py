"""Read ProAssist's result files and the DST extension's frame tables as prediction records.

A frame index counts the frames of the stream from 0: at 2 frames per second, index i is the picture
at i / 2 seconds. The file gives the user's text with the next frame that is read, so the user turn
follows the frame before it. A reference is on the index in the file, independent of user turns next
to it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

from prospect_core.records import SCHEMA, EpisodeRecord, Knobs, PredictedUtterance
from prospect_core.stream.proassist_outputs import (
    DST,
    RECORD,
    proassist_output_clip_name,
    proassist_output_dst_frames,
    proassist_output_frames,
)
from prospect_core.timeline import Episode, Event, Task, TimelineError
from prospect_core.util.console import format_count
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json, load_json
from prospect_eval.runs.proassist_updates import (
    list_proassist_update_steps,
    proassist_updates_initial_state,
    read_proassist_updates,
    track_proassist_updates,
)

#: frames per second of ProAssist's videos
FPS = 2
#: longest stream; a larger index is an error, and every frame uses memory
LONGEST_S = 86_400
#: maximum number of frames per second
HIGHEST_FPS = 1000
#: largest number in a field
LARGEST = 1e15
#: name of the model if the file has none
MODEL = "proassist"
#: fields of an output for each array of a record; the first existing one is used
FIELDS = {
    "speaking_prob": ("speaking_prob",),
    "update_prob": ("dst_prob",),
    "cache_tokens": ("cache_tokens", "context_length"),
}
Tell = Callable[[str], None]
Frame = dict[str, Any]


def read_proassist_result_stream(
    item: dict[str, Any], where: str, episodes: Sequence[Episode] = (), tell: Tell = lambda line: None
) -> EpisodeRecord:
    """Read a result file as a record.

    If the file was exported from a record and not changed, this is that record. Without
    ``episodes`` the references are those in the file.

    Args:
        item: Contents of the file.
        where: Prefix of error messages.
        episodes: The data of the predictions. The stream's episode is found by its references.
        tell: Called with a message about anything that is left out.

    Raises:
        DataError: The file is not a result file, or not exactly one episode fits it.
    """
    meta = item.get("metadata") or {}
    frames = item["predictions"]
    if not isinstance(meta, dict) or not isinstance(frames, list):
        raise DataError(
            f"{where}: not a ProAssist prediction file (metadata is an object, predictions a list of objects)"
        )
    exported = _exported(item, where)
    if exported is not None and (not episodes or exported.episode in episodes):
        return exported
    outputs = _with_dst([_frame(frame, where) for frame in frames], item.get(DST), where)
    return make_proassist_result_record(outputs, meta, where, episodes, tell)


def _exported(item: dict[str, Any], where: str) -> EpisodeRecord | None:
    """Return the record from which the file was exported; None if there is none or it has changed."""
    if RECORD not in item:
        return None
    record = load_json(EpisodeRecord, dump_json(item[RECORD]), f"{where}: {RECORD}")
    initial = record.episode.initial_state
    if len(initial.states) != len(initial.step_ids) or record.episode.problems() or record.problems():
        return None
    known = proassist_output_frames(record)
    same = len(known) == len(item["predictions"]) and all(
        isinstance(mine, dict) and all(mine.get(key) == value for key, value in frame.items())
        for frame, mine in zip(known, item["predictions"], strict=True)
    )
    return record if same and item.get(DST, []) == proassist_output_dst_frames(record) else None


def _frame(frame: Any, where: str) -> Frame:
    """Check the fields of one output.

    Raises:
        DataError: A field is wrong. The message names it.
    """

    def wrong(what: str) -> DataError:
        return DataError(f"{where}: not a ProAssist prediction file ({what})")

    if not isinstance(frame, dict):
        raise wrong(f"a prediction is {type(frame).__name__}, not an object")
    for key in ("frame_idx_in_stream", "gen", "ref"):
        if key not in frame:
            raise wrong(f"a prediction has no {key!r}")
    index = frame["frame_idx_in_stream"]
    if type(index) is not int or index < 0:
        raise wrong(f"frame_idx_in_stream is {index!r}; a whole number from 0 is needed")
    for key in ("gen", "ref"):
        if not isinstance(frame[key], str | None):
            raise wrong(f"frame {index}: {key} is {frame[key]!r}; text is needed")
    asked = frame.get("text_inputs") or ()
    for entry in asked if isinstance(asked, list | tuple) else (asked,):
        if not (isinstance(entry, list | tuple) and len(entry) == 2 and all(isinstance(part, str) for part in entry)):
            raise wrong(f"frame {index}: text_inputs holds {entry!r}; [role, text] is needed")
    return frame


def _with_dst(frames: list[Frame], more: Any, where: str) -> list[Frame]:
    """Return the frames with the fields of the DST extension."""
    if more is None:
        return frames
    if not isinstance(more, list) or not all(
        isinstance(one, dict) and type(one.get("frame_idx_in_stream")) is int for one in more
    ):
        raise DataError(f"{where}: {DST} is a list of objects with frame_idx_in_stream")
    by_index = {one["frame_idx_in_stream"]: one for one in more}
    unknown = sorted(set(by_index) - {frame["frame_idx_in_stream"] for frame in frames})
    if len(by_index) < len(more) or unknown:
        what = f"frame {unknown[0]}, which predictions lacks" if unknown else "a frame twice"
        raise DataError(f"{where}: {DST} holds {what}")
    return [{**by_index.get(frame["frame_idx_in_stream"], {}), **frame} for frame in frames]


def make_proassist_result_record(
    frames: Sequence[Frame], meta: Mapping[str, Any], where: str, episodes: Sequence[Episode], tell: Tell
) -> EpisodeRecord:
    """Make a record from outputs by frame.

    Args:
        frames: The outputs.
        meta: Metadata of the file.
        where: Prefix of error messages.
        episodes: The data of the predictions; empty to use the references in the file.
        tell: Called with a message about anything that is left out.

    Raises:
        DataError: There is no frame, a frame is repeated or too late, or not exactly one episode
            fits.
    """
    if not frames:
        raise DataError(f"{where}: holds no frame")
    fps = _fps(meta.get("fps"), where)
    frames = sorted(frames, key=lambda frame: frame["frame_idx_in_stream"])
    indices = [frame["frame_idx_in_stream"] for frame in frames]
    twice = next((a for a, b in pairwise(indices) if a == b), None)
    if twice is not None:
        raise DataError(f"{where}: frame {twice} appears twice")
    if indices[-1] >= LONGEST_S * fps:
        raise DataError(f"{where}: frame {indices[-1]} is beyond {LONGEST_S // 3600} h of stream, the maximum")
    episode = _episode_with(frames, meta, episodes, where) if episodes else _episode_of(frames, meta, fps, where)
    return _predicted(frames, meta, episode, tell, where)


def _fps(value: Any, where: str) -> float:
    if value is None:
        return FPS
    if type(value) not in (int, float) or not 0 < value <= HIGHEST_FPS:
        raise DataError(f"{where}: fps is {value!r}; a number above 0, at most {HIGHEST_FPS}, is needed")
    return float(value)


def _predicted(
    frames: Sequence[Frame], meta: Mapping[str, Any], episode: Episode, tell: Tell, where: str
) -> EpisodeRecord:
    """Return the record of the predictions for an episode."""
    start = episode.start_frame
    said = [(frame["frame_idx_in_stream"], (frame["gen"] or "").strip()) for frame in frames]
    whole = [frame["frame_idx_in_stream"] for frame in frames] == list(range(episode.num_frames))
    updates = read_proassist_updates(frames, "dst_update")
    if updates and not episode.task.steps:
        left = format_count(len(updates), "state update")
        tell(f"{where}: {left} ignored, because the file has no reference states; give --data FOLDER")
        updates = []
    transitions, refusals = track_proassist_updates(updates, episode)
    known = {name: _known(frames, keys, whole, tell, where) for name, keys in FIELDS.items()}
    return EpisodeRecord(
        schema=SCHEMA,
        model=str(meta.get("model") or MODEL),
        knobs=Knobs(),
        episode=episode,
        speaking_prob=known["speaking_prob"],
        update_prob=known["update_prob"],
        cache_tokens=tuple(map(int, known["cache_tokens"])),
        utterances=tuple(PredictedUtterance(start + index, text) for index, text in said if text),
        transitions=transitions,
        refusals=refusals,
    )


def _known(frames: Sequence[Frame], keys: tuple[str, ...], whole: bool, tell: Tell, where: str) -> tuple[float, ...]:
    """Return a field of every frame.

    It is empty if a frame lacks the field or if all values are 0, because the DST extension writes
    0 for values that its model does not compute.
    """
    key = next((key for key in keys if any(frame.get(key) is not None for frame in frames)), None)
    if key is None:
        return ()
    values = [frame.get(key) for frame in frames]
    numbers = [float(value) for value in values if _is_number(value, whole=keys == FIELDS["cache_tokens"])]
    if not any(numbers):
        tell(f"{where}: {key} is 0 on every frame and is treated as unknown")
        return ()
    if not whole or len(numbers) < len(values):
        tell(
            f"{where}: {key} is ignored: {len(numbers)} frames have it, a value for every frame of the stream is needed"
        )
        return ()
    return tuple(numbers)


def _is_number(value: Any, whole: bool) -> TypeGuard[float]:
    """Return whether a field is a number, or an integer from 0 if ``whole``."""
    if whole:
        return type(value) is int and 0 <= value <= LARGEST
    return type(value) in (int, float) and abs(value) <= LARGEST


def _references(frames: Sequence[Frame]) -> list[tuple[int, str]]:
    """Return (index, text) of the references."""
    texts = ((frame["frame_idx_in_stream"], (frame["ref"] or "").strip()) for frame in frames)
    return [(index, text) for index, text in texts if text]


def _asked(frames: Sequence[Frame]) -> list[tuple[int, list[str]]]:
    """Return (index, texts) of the user's words before a frame."""
    found = (
        (frame["frame_idx_in_stream"], [text for role, text in frame.get("text_inputs") or () if role == "user"])
        for frame in frames
    )
    return [(index, texts) for index, texts in found if texts]


def _episode_with(frames: Sequence[Frame], meta: Mapping[str, Any], episodes: Sequence[Episode], where: str) -> Episode:
    """Return the episode that the file names, or that has the same references on the same frames."""
    named = [episode for episode in episodes if meta.get("clip") in (episode.id, proassist_output_clip_name(episode))]
    if len(named) == 1 and frames[-1]["frame_idx_in_stream"] < named[0].num_frames:
        return named[0]
    references = _references(frames)
    fitting = [e for e in episodes if [(u.frame - e.start_frame, u.text) for u in e.utterances()] == references]
    if len(fitting) > 1:
        asked = [text for _, texts in _asked(frames) for text in texts]
        fitting = [e for e in fitting if [event.text for _, event in e.user_turns()] == asked] or fitting
    if len(fitting) != 1:
        raise DataError(
            f"{where}: {len(fitting) or 'no'} episode(s) of the data have its {len(references)} references on its frames;"
            " remove --data to score against the references in the file"
        )
    return fitting[0]


def _episode_of(frames: Sequence[Frame], meta: Mapping[str, Any], fps: float, where: str) -> Episode:
    """Make an episode from the references in the file."""
    due = read_proassist_updates(frames, "dst_update_ref")
    heard: dict[int, list[str]] = {}
    for index, texts in _asked(frames):
        # the user's text of the first frame stays on frame 0, because there is no earlier frame
        heard.setdefault(max(0, index - 1), []).extend(texts)
    # order on one frame: updates, assistant, user, because user text is read with the next frame
    order: list[tuple[int, int, int]] = []
    made: list[Event] = []

    def add(frame: int, rank: int, event: Event) -> None:
        order.append((frame, rank, len(made)))
        made.append(event)

    for update in due:
        event_id, time = f"d{len(made)}", update.index / fps
        add(update.index, 0, Event(event_id, time, "transition", step=update.step, change=update.known(where),
                                   frame=update.index))  # fmt: skip
    for index, text in _references(frames):
        add(index, 1, Event(f"t{len(made)}", index / fps, "assistant", text, frame=index))
    for index, said in heard.items():
        add(index, 2, Event(f"t{len(made)}", index / fps, "user", " ".join(said), frame=index))
    # if the reference has the field but no update, every predicted update is a false alarm
    stated = any("dst_update_ref" in frame for frame in frames)
    steps = list_proassist_update_steps(due or (read_proassist_updates(frames, "dst_update") if stated else []))
    task = Task(str(meta.get("task_goal") or ""), steps)
    name = ".".join(str(meta[key]) for key in ("video_uid", "user_type", "sample_idx") if meta.get(key) is not None)
    try:
        return Episode(
            id=str(meta.get("clip") or name or where),
            video=str(meta.get("video_uid") or where),
            fps=fps,
            start_frame=0,
            end_frame=frames[-1]["frame_idx_in_stream"] + 1,
            task=task,
            events=tuple(made[place] for _, _, place in sorted(order)),
            initial=proassist_updates_initial_state(task, due),
            user_type=str(meta.get("user_type") or ""),
            dataset=str(meta.get("dataset") or ""),
            file_order=True,
        ).validate()
    except TimelineError as error:
        raise DataError(f"{where}: {error}") from error


def read_proassist_result_table(
    data: bytes, path: Path, episodes: Sequence[Episode] = (), tell: Tell = lambda line: None
) -> EpisodeRecord:
    """Read the DST extension's ``frame_predictions.csv`` as a record.

    The name of the folder is the clip's name. The table names neither dataset nor rate: 2 frames
    per second are assumed, without user turns. An empty probability is unknown.

    Args:
        data: Contents of the file.
        path: Path of the file.
        episodes: The data of the predictions; empty to use the references in the file.
        tell: Called with a message about anything that is left out.

    Raises:
        DataError: A column is missing, or a cell has an invalid value.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text") from error
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise DataError(f"{path}: not a table ({error})") from error
    needed = ("frame_idx", "pred_response", "gt_response")
    lacking = [column for column in needed if rows and column not in rows[0]]
    if lacking or not rows:
        raise DataError(
            f"{path}: {f'has no column {lacking[0]!r}' if rows else 'holds no row'}; not frame_predictions.csv"
        )
    frames = [_table_frame(row, f"{path}: line {number}") for number, row in enumerate(rows, 2)]
    name = path.parent.name or path.stem
    return make_proassist_result_record(frames, {"clip": name, "video_uid": name}, str(path), episodes, tell)


def _table_frame(row: Mapping[str, str | None], where: str) -> Frame:
    """Return a row of the table as an output."""
    if None in row or any(cell is None for cell in row.values()):
        raise DataError(f"{where}: the number of cells differs from the header line")
    cells = {key: cell or "" for key, cell in row.items()}
    frame: Frame = {
        "frame_idx_in_stream": _number(cells["frame_idx"], where, "frame_idx", int),
        "gen": cells["pred_response"],
        "ref": cells["gt_response"],
        "dst_update": cells.get("pred_dst_updates", ""),
        "dst_update_ref": cells.get("gt_dst_updates", ""),
        "speaking_prob": _probability(cells.get("pred_speaking_prob", ""), where, "pred_speaking_prob"),
        "dst_prob": _probability(cells.get("pred_dst_prob", ""), where, "pred_dst_prob"),
    }
    return _frame(frame, where)


def _probability(text: str, where: str, column: str) -> float | None:
    return None if not text.strip() else float(_number(text, where, column, float))


def _number(text: str, where: str, column: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(text)
    except ValueError as error:
        raise DataError(f"{where}: {column} is {text!r}; a number is needed") from error
