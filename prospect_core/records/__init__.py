"""Prediction records: the contract between runner, baselines, metrics, report and adapters of other models.

One `EpisodeRecord` per episode holds per-frame arrays, predicted utterances and transitions,
refusals, compressions and the reference episode. It is pure data. Everything that varies from run
to run (seconds) is in a separate `EpisodeTiming`.
"""

from prospect_core.records.episode_record import SCHEMA, EpisodeRecord
from prospect_core.records.predicted_events import (
    CompressionEvent,
    LengthKind,
    PolledAnswer,
    PredictedMistake,
    PredictedNextStep,
    PredictedTransition,
    PredictedUtterance,
    Refusal,
    UnseenLength,
    utterance_has_words,
)
from prospect_core.records.record_digest import digest_records, digest_serialized_records, serialize_record_for_digest
from prospect_core.records.replay_settings import AskedDtype, ClockSettings, Dtype, Knobs, LatencyModel, ReplayProtocol
from prospect_core.records.replay_times import EpisodeLatency, EpisodeTiming, ServerUsage, StepTime, TeacherForcedTurn

__all__ = [
    "SCHEMA",
    "AskedDtype",
    "ClockSettings",
    "CompressionEvent",
    "Dtype",
    "EpisodeLatency",
    "EpisodeRecord",
    "EpisodeTiming",
    "Knobs",
    "LatencyModel",
    "LengthKind",
    "PolledAnswer",
    "PredictedMistake",
    "PredictedNextStep",
    "PredictedTransition",
    "PredictedUtterance",
    "Refusal",
    "ReplayProtocol",
    "ServerUsage",
    "StepTime",
    "TeacherForcedTurn",
    "UnseenLength",
    "digest_records",
    "digest_serialized_records",
    "serialize_record_for_digest",
    "utterance_has_words",
]
