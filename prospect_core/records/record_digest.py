"""Digest of the predictions of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from prospect_core.records.episode_record import EpisodeRecord
from prospect_core.records.predicted_events import PredictedTransition, PredictedUtterance


def digest_records(records: Iterable[EpisodeRecord]) -> str:
    """Compute the SHA-256 over decisions, transitions, texts and compressions, in order of episode id.

    Probabilities and times are excluded: their last digits differ between machines.
    """
    return digest_serialized_records({record.episode.id: serialize_record_for_digest(record) for record in records})


def serialize_record_for_digest(record: EpisodeRecord) -> bytes:
    """Return the part of one record in `digest_records`."""
    body: dict[str, object] = {
        "episode": record.episode.id,
        "status": record.status,
        "utterances": [[u.frame, u.text, u.cut] for u in record.utterances],
        "transitions": [[t.frame, t.step, t.change] for t in record.transitions],
        "refusals": [[r.frame, r.step, r.wanted] for r in record.refusals],
        "compressions": [asdict(c) for c in record.compressions],
    }
    if record.answers:
        body["answers"] = [[answer.poll, answer.text, answer.cut] for answer in record.answers]
    if record.mistakes:
        body["mistakes"] = [[mistake.frame, mistake.step, mistake.tag] for mistake in record.mistakes]
    if record.next_steps:
        body["next_steps"] = [[item.frame, item.step] for item in record.next_steps]
    if record.dropped:
        body["dropped"] = [list(span) for span in record.dropped]
    items: list[PredictedUtterance | PredictedTransition] = [*record.utterances, *record.transitions]
    if any(item.decided is not None for item in items):
        body["decided"] = [item.decision_frame for item in items]
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def digest_serialized_records(parts: Mapping[str, bytes]) -> str:
    """Compute `digest_records` from the parts by episode id."""
    return hashlib.sha256(b"".join(parts[episode] for episode in sorted(parts))).hexdigest()
