"""Official numbers of the blind baselines over the episodes of a run of a published benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prospect_core.records import EpisodeRecord
from prospect_eval.models.baselines.trivial import BASELINES, make_trivial_baseline
from prospect_eval.suites.benchmark import BenchmarkReplay
from prospect_eval.suites.official_score import OfficialScore

#: baselines that use no part of the reference and differ in what they say
BLIND_BASELINES = ("silent", "always_talk", "periodic", "rate_matched_random", "reply_to_user", "recite_steps")


def score_blind_baselines(
    replay: BenchmarkReplay[Any], annotations: Any, records: Sequence[EpisodeRecord]
) -> dict[str, OfficialScore]:
    """Return the official numbers of each blind baseline, by name.

    A baseline answers a poll with an empty text, so under a protocol that is not autonomous only ``silent`` is scored.

    Args:
        replay: Functions of the benchmark.
        annotations: Its annotations.
        records: Records of the run, whose episodes and protocol the baselines get.
    """
    if not records:
        return {}
    episodes = [record.episode for record in records]
    knobs = records[0].knobs
    asked = knobs.rules.initiative != "autonomous"
    scores = {}
    for name in BLIND_BASELINES[:1] if asked else BLIND_BASELINES:
        assert BASELINES[name].sees == "nothing"
        predict = make_trivial_baseline(name, episodes)
        said = [replace(predict(episode), knobs=knobs) for episode in episodes]
        scores[name] = replay.score_records(annotations, said)
    return scores
