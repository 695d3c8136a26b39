"""A prediction record as one ProAssist stream: a frame output for every frame, and what the DST extension adds to it.

    python -c "from prospect_core.stream.proassist_outputs import make_proassist_outputs; help(make_proassist_outputs)"

``predictions`` holds the fields of the published ``FrameOutput`` alone, since its evaluator builds one from each of them.
What the DST extension's ``DSTFrameOutput`` adds stands in ``dst_predictions``, one entry a frame; ``prospect_record`` is
the whole record, so that reading the file gives it back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prospect_core.records import EpisodeRecord
from prospect_core.timeline import Episode
from prospect_core.util.json_io import dump_json

#: of a result file: the record that it was written from
RECORD = "prospect_record"
#: of a result file: what the DST extension adds to each frame
DST = "dst_predictions"
#: frames of a stream: the published fields of an output
Frames = list[dict[str, Any]]


def make_proassist_outputs(record: EpisodeRecord, sample_idx: int) -> dict[str, Any]:
    """The contents of a result file, without its ``match_result``.

    Args:
        record: A prediction record. A failed one gives a stream of silence.
        sample_idx: The sample's place in its data set, from 0.
    """
    return {
        "metadata": proassist_output_metadata(record, sample_idx),
        "predictions": proassist_output_frames(record),
        DST: proassist_output_dst_frames(record),
        RECORD: json.loads(dump_json(record)),
    }


def proassist_output_metadata(record: EpisodeRecord, sample_idx: int) -> dict[str, Any]:
    """What the published runner notes of a stream, and the user type and model, which it does not.

    ``no_talk_threshold`` is the published one: the probability of silence above which nothing is said.
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
    """The published silence threshold that speaks where the record's speaking threshold does."""
    return round(1.0 - record.knobs.speaking_threshold, 6)


def proassist_output_video_uid(episode: Episode) -> str:
    """The video's name in the row that the episode was read from, or else the name of its file."""
    return str(proassist_output_origin_row(episode).get("video_uid") or Path(episode.video).stem)


def proassist_output_clip_name(episode: Episode) -> str:
    """The clip's ``id`` in the row that the episode was read from, or else the episode's id."""
    return str(proassist_output_origin_row(episode).get("id") or episode.id)


def proassist_output_origin_row(episode: Episode) -> dict[str, Any]:
    """The ProAssist row that an episode was read from; empty where it has another origin."""
    try:
        row = json.loads(episode.meta.get("origin", "{}")).get("row", {})
    except (ValueError, AttributeError):
        return {}
    return row if isinstance(row, dict) else {}


def proassist_output_frames(record: EpisodeRecord) -> Frames:
    """One published output a frame: what was said (empty: silence), what was due, and the user's texts read with it.

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
    """What the DST extension adds to each frame: decisions, probabilities (None: not known), the updates
    (``S1->start``, several joined by ``;``) and the state after them; and the updates that were due (``dst_update_ref``).
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
    """The reference updates by video frame, several joined by ``;``."""
    out: dict[int, list[str]] = {}
    for frame, step, change in episode.transitions():
        out.setdefault(frame, []).append(f"{step}->{change}")
    return {frame: ";".join(updates) for frame, updates in out.items()}


def _updates(record: EpisodeRecord) -> dict[int, str]:
    out: dict[int, list[str]] = {}
    for item in record.transitions:
        out.setdefault(item.frame, []).append(f"{item.step}->{item.change}")
    return {frame: ";".join(updates) for frame, updates in out.items()}
