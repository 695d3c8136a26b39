"""Convert a prediction record to a ProAssist result: an output per frame, and the DST extension's fields.

``predictions`` holds only the fields of the published ``FrameOutput``, because the published
evaluator constructs one from each entry. ``dst_predictions`` holds the fields of the DST
extension's ``DSTFrameOutput``, one entry per frame. ``prospect_record`` is the whole record, so
that the import restores it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import Episode
from prospect_core.util.json_io import dump_json

#: key of a result file: the record that it was written from
RECORD = "prospect_record"
#: key of a result file: fields of the DST extension per frame
DST = "dst_predictions"
#: frames of a stream as dictionaries of published fields
Frames = list[dict[str, Any]]


def make_proassist_outputs(record: EpisodeRecord, sample_idx: int) -> dict[str, Any]:
    """Make the contents of a result file, without its ``match_result``.

    Args:
        record: A prediction record. A failed one gives a silent stream.
        sample_idx: Number of the sample in its dataset, from 0.
    """
    return {
        "metadata": proassist_output_metadata(record, sample_idx),
        "predictions": proassist_output_frames(record),
        DST: proassist_output_dst_frames(record),
        RECORD: json.loads(dump_json(record)),
    }


def proassist_output_metadata(record: EpisodeRecord, sample_idx: int) -> dict[str, Any]:
    """Return the published runner's metadata of a stream, extended by user type and model.

    ``no_talk_threshold`` is the published one: the probability of silence above which the model is
    silent.
    """
    episode, knobs = record.episode, record.knobs
    return {
        "dataset": episode.dataset,
        "sample_idx": sample_idx,
        "video_uid": proassist_output_video_uid(episode),
        "fps": episode.fps,
        "use_gt_context": False,
        "no_talk_threshold": proassist_output_silence_threshold(record),
        "ctxlen_to_reduce_kv_cache": knobs.budget,
        "context_handling_strategy": knobs.strategy.upper(),
        "user_type": episode.user_type,
        "model": record.model,
    }


def proassist_output_silence_threshold(record: EpisodeRecord) -> float:
    """Return the published silence threshold that is equivalent to the record's speaking threshold."""
    return round(1.0 - record.knobs.speaking_threshold, 6)


def proassist_output_video_uid(episode: Episode) -> str:
    """Return the video's name in the episode's source row, or the name of its file."""
    return str(proassist_output_origin_row(episode).get("video_uid") or Path(episode.video).stem)


def proassist_output_clip_name(episode: Episode) -> str:
    """Return the clip's ``id`` in the episode's source row, or the episode's id."""
    return str(proassist_output_origin_row(episode).get("id") or episode.id)


def proassist_output_origin_row(episode: Episode) -> dict[str, Any]:
    """Return the ProAssist source row of an episode; empty for an episode of another origin."""
    try:
        row = json.loads(episode.meta.get("origin", "{}")).get("row", {})
    except (ValueError, AttributeError):
        return {}
    return row if isinstance(row, dict) else {}


def proassist_output_frames(record: EpisodeRecord) -> Frames:
    """Return one published output per frame: prediction, reference (both empty for silence) and user texts.

    ``timestamp_in_stream`` is the end of the frame in seconds, as published: (index + 1) / fps.
    """
    episode = record.episode
    said = {utterance.frame: utterance.text for utterance in record.utterances}
    due = {utterance.frame: utterance.text for utterance in episode.utterances()}
    heard: dict[int, list[list[str]]] = {}
    for frame, event in episode.user_turns():
        heard.setdefault(frame + 1, []).append(["user", event.text])
    return [
        {
            "gen": said.get(frame, ""),
            "ref": due.get(frame, ""),
            "text_inputs": heard.get(frame, []),
            "frame_idx_in_stream": place,
            "frame_idx_in_original_video": frame,
            "timestamp_in_stream": (place + 1) / episode.fps,
        }
        for place, frame in enumerate(range(episode.start_frame, episode.end_frame))
    ]


def proassist_output_dst_frames(record: EpisodeRecord) -> Frames:
    """Return the fields of the DST extension for each frame.

    They are decisions, probabilities (None if unknown), predicted updates (``S1->start``, joined by
    ``;``), the state after them, and reference updates (``dst_update_ref``).
    """
    episode = record.episode
    said = {utterance.frame for utterance in record.utterances}
    written, due = _updates(record), proassist_output_reference_updates(episode)
    states = dict(record.tracked_states())
    state = dict(zip(episode.initial_state.step_ids, episode.initial_state.states, strict=True))
    out: Frames = []
    for place, frame in enumerate(range(episode.start_frame, episode.end_frame)):
        if frame in states:
            state = dict(zip(states[frame].step_ids, states[frame].states, strict=True))
        out.append(
            {
                "frame_idx_in_stream": place,
                "speaking": int(frame in said),
                "speaking_prob": record.speaking_prob[place] if record.speaking_prob else None,
                "dst_update_binary": int(frame in written),
                "dst_prob": record.update_prob[place] if record.update_prob else None,
                "dst_update": written.get(frame, ""),
                "dst_state": state,
                "dst_update_ref": due.get(frame, ""),
            }
        )
    return out


def proassist_output_reference_updates(episode: Episode) -> dict[int, str]:
    """Return the reference updates by video frame, joined by ``;``."""
    out: dict[int, list[str]] = {}
    for frame, step, change in episode.transitions():
        out.setdefault(frame, []).append(f"{step}->{change}")
    return {frame: ";".join(updates) for frame, updates in out.items()}


def _updates(record: EpisodeRecord) -> dict[int, str]:
    out: dict[int, list[str]] = {}
    for item in record.transitions:
        out.setdefault(item.frame, []).append(f"{item.step}->{item.change}")
    return {frame: ";".join(updates) for frame, updates in out.items()}
