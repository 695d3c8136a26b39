"""Make scored run folders of toy records, without a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.records import EpisodeRecord, Knobs
from prospect_core.timeline import Change, Episode, Event, Step, Task
from prospect_core.util.atomic import write_atomic
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.metrics import ScoringResources
from prospect_eval.metrics.corpus import Corpus
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.runs.folder import RunConfig, open_run_folder
from prospect_eval.scoring.score import score_records, write_score_metrics
from tests.helpers.predictions import TOOLS

CHANGES: tuple[tuple[str, Change], ...] = (("S1", "start"), ("S1", "complete"), ("S2", "start"), ("S2", "complete"))


def toy_episode(number: int, *, frames: int = 120, steps: bool = True, **fields: Any) -> Episode:
    """Make an episode at 2 frames per second with a turn every 6 s and two steps.

    ``text`` may contain ``{k}`` and ``{n}``.
    """
    text = fields.pop("text", "turn {k} of {n}")
    task = Task("t", (Step("S1", "one"), Step("S2", "two")) if steps else ())
    events = [
        Event(f"d{k}", (10 + 20 * k) / 2, "transition", step=step, change=change)
        for k, (step, change) in enumerate(CHANGES if steps else ())
    ]
    events += [
        Event(f"a{k}", (6 + 12 * k) / 2, "assistant", text.format(k=k, n=number)) for k in range((frames - 6) // 12)
    ]
    events.sort(key=lambda event: (event.time, event.kind != "transition"))
    named: dict[str, Any] = {"id": f"e{number:02d}", "video": f"v{number:02d}", "dataset": "x"} | fields
    return Episode(fps=2, start_frame=0, end_frame=frames, task=task, events=tuple(events), **named).validate()


def oracle(episodes: Iterable[Episode]) -> list[EpisodeRecord]:
    """Make records that repeat the reference."""
    return [make_trivial_baseline("oracle", [])(episode) for episode in episodes]


def silent(episodes: Iterable[Episode]) -> list[EpisodeRecord]:
    """Make records without utterances and transitions."""
    return [make_trivial_baseline("silent", [])(episode) for episode in episodes]


def partly_said(record: EpisodeRecord, share: float, rng: np.random.Generator) -> EpisodeRecord:
    """Keep each utterance with probability ``share``."""
    return replace(record, utterances=tuple(u for u in record.utterances if rng.random() < share))


def failed(record: EpisodeRecord) -> EpisodeRecord:
    """Make a failed record of the same episode."""
    return EpisodeRecord(record.schema, record.model, record.knobs, record.episode, status="failed", error="broken")


@cache
def split_tools() -> ScoringResources:
    """Return scoring resources with the corpus of one split of 40 episodes, which all runs use."""
    return replace(TOOLS, corpus=Corpus.of(toy_episode(number) for number in range(40)))


def scored_run(folder: Path, records: Sequence[EpisodeRecord], **config: Any) -> Path:
    """Make a finished run folder of these records; ``config`` replaces fields of its configuration."""
    body = RunConfig("m", "0" * 64, "data", "d" * 64, "test", None, Knobs(), "c")
    open_run_folder(folder, replace(body, **config))
    write_score_metrics(folder, score_records(records, split_tools()))
    write_atomic(folder / "DONE.json", dump_json({"schema": 1}))
    return folder


def edit_json(file: Path, **fields: Any) -> None:
    """Replace fields of a JSON file."""
    write_atomic(file, dump_json({**read_json(file), **fields}))


def config_of(**fields: Any) -> dict[str, Any]:
    """Return the configuration of `scored_run` as JSON."""
    return asdict(replace(RunConfig("m", "0" * 64, "data", "d" * 64, "test", None, Knobs(), "c"), **fields))
