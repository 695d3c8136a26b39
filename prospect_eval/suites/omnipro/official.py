"""OmniPro's online scores: emissions paired with triggers within 3 s, and the content of the pairs.

Source: ``metrics/online/scorer.py`` (the library), ``scripts/compute_online_metrics.py`` (the command) and
``utils/online_parser.py`` of RuixiangZhao/OmniPro at 13aa8e5ca44c82d85668078b41ad88b436888f7c (MIT).

Formula: of all pairs (emission, trigger) at most 3 s apart, in order of distance, then emission, then trigger, each pair
is taken whose both ends are free. ``time_f1`` comes from the pairs, the unpaired emissions and the unpaired triggers.
Content of a pair: alerts are always right. Grounding wants the same one of nine region names. Snapshot counting wants the
same first whole number, with clock times cut out. Cumulative and dedup counting want the count of the last trigger at or
before the emission. State monitoring wants the same text, without quotes and in lower case. Narration and step instruction
want an LLM judge's score of at least 3 of 5. ``content_accuracy`` is the share of right pairs, ``joint_f1`` counts right pairs alone.
The library pools all samples. The command rounds the values of each task to 4 places and takes their mean.

Quirks, which the values keep:

* Closest first is not the best matching: emissions 10 and 14 s with triggers 12.5 and 16.9 s give one pair, not two.
* A running count given up to 3 s early is paired, but compared with the count before.
* An emission without text counts, and is right for alerts. No trigger and no emission scores 0.
* The library ignores an LLM judge: narration has a joint F1 of 0. The command has none without an LLM judge, and leaves the task out.
* A trigger without a time is at 0 s. The state "on." is not "on".
* The published loop, not the scorer, merges emissions that are at most 2 s apart before it writes them.

Where the published scorer's result depends on the hash seed (two region names of equal length in one text), the one that
comes first in the text is read. Where it stops, here an emission without a time is paired with nothing, a trigger with an
unreadable time too, and a count that is no number is never right.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from prospect_eval.suites.benchmark import make_values_of_totals
from prospect_eval.suites.official_score import (
    ItemScore,
    ItemStatus,
    OfficialScore,
    OfficialValues,
    make_official_score,
    pool_item_totals,
)

ContentKind = Literal["time_only", "position", "count", "count_at_time", "state", "gpt_judge"]
#: the compared content in the pairs of each task, by the published names
CONTENT_KINDS: dict[str, ContentKind] = {
    "instant_event_alert": "time_only",
    "semantic_condition_alert": "time_only",
    "explicit_target_grounding": "position",
    "snapshot_counting": "count",
    "cumulative_counting": "count_at_time",
    "dedup_counting": "count_at_time",
    "realtime_state_monitor": "state",
    "event_narration": "gpt_judge",
    "sequential_step_instruction": "gpt_judge",
}
TOLERANCE_S = 3.0
#: values of which the command prints the mean over tasks
MEANS = ("time_f1", "content_accuracy", "joint_f1")
#: score of an LLM judge from which narration is right
PASS_SCORE = 3
#: seconds by which a trigger may come after an emission and still give its count
_COUNT_SLACK_S = 1e-6
_ROWS, _COLUMNS = ("top", "center", "bottom"), ("left", "center", "right")
REGIONS = tuple("center" if row == column else f"{row}-{column}" for row in _ROWS for column in _COLUMNS)
_CLOCK_TIME = re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?\b")


@dataclass(frozen=True)
class ParsedEmission:
    """The compared content of an emission; ``valid`` is False for one without text, or without a number where one is due."""

    valid: bool
    position: str | None = None
    count: int | None = None
    state: str | None = None


@dataclass(frozen=True)
class Emission:
    """A text of the model, at a time in seconds (None: the file has none); ``parsed`` where the file holds the fields."""

    time: float | None
    text: str | None
    parsed: ParsedEmission | None = None


@dataclass(frozen=True)
class Trigger:
    """When the model is to speak, in seconds (None: unreadable), and with which content.

    Attributes:
        has_count: The trigger names a count; of running counts, only such triggers change it.
    """

    time: float | None
    response: str = ""
    position: str = ""
    state: str = ""
    count: int | None = None
    has_count: bool = False


@dataclass(frozen=True)
class OmniProSample:
    """One question with its emissions and triggers.

    Attributes:
        asked: Time of the question in seconds.
        end: Last second at which the model can speak; None where the file does not say.
    """

    id: str
    video: str
    task: str
    question: str
    emissions: tuple[Emission, ...]
    triggers: tuple[Trigger, ...]
    asked: float = 0.0
    end: float | None = None


@dataclass(frozen=True)
class EmissionPair:
    """A paired emission and trigger; ``right`` is None where the content is not judged."""

    emission: int
    trigger: int
    distance: float
    right: bool | None = None


def parse_emission(text: str | None, task: str) -> ParsedEmission:
    """The fields of an emission by the published parser."""
    if text is None or not text.strip():
        return ParsedEmission(valid=False)
    kind = CONTENT_KINDS.get(task)
    if kind == "position":
        return ParsedEmission(valid=True, position=_find_region(text))
    if kind in ("count", "count_at_time"):
        number = re.search(r"-?\d+", _CLOCK_TIME.sub(" ", text.strip()))
        return ParsedEmission(valid=number is not None, count=int(number[0]) if number else None)
    if kind == "state":
        return ParsedEmission(valid=True, state=text.strip().strip("'\"").lower())
    return ParsedEmission(valid=True)


def _find_region(text: str) -> str | None:
    """The region after "position:", else the longest region name in the text, of several the first."""
    lower = text.lower()
    named = re.search(r"position\s*:\s*([\w\-]+)", lower)
    if named and named[1] in REGIONS:
        return named[1]
    found = [region for region in REGIONS if region in lower]
    return min(found, key=lambda region: (-len(region), lower.index(region))) if found else None


def pair_emissions(
    emission_times: Sequence[float | None], trigger_times: Sequence[float | None], tolerance: float = TOLERANCE_S
) -> list[EmissionPair]:
    """The pairs of the published greedy matching, closest first."""
    near: list[tuple[float, int, int]] = []
    for emission, time in enumerate(emission_times):
        for trigger, due in enumerate(trigger_times):
            if time is not None and due is not None and abs(time - due) <= tolerance:
                near.append((abs(time - due), emission, trigger))
    pairs: list[EmissionPair] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for distance, emission, trigger in sorted(near):
        if emission not in taken[0] and trigger not in taken[1]:
            pairs.append(EmissionPair(emission, trigger, distance))
            taken[0].add(emission)
            taken[1].add(trigger)
    return pairs


def judge_pairs(
    sample: OmniProSample, tolerance: float = TOLERANCE_S, judge_scores: Sequence[int] | None = None
) -> list[EmissionPair]:
    """The pairs of a sample with their content compared.

    Args:
        sample: The sample.
        tolerance: Largest distance of a pair in seconds.
        judge_scores: For narration, an LLM judge's scores 0..5 in the order of the pairs; None: not judged.
    """
    times = [emission.time for emission in sample.emissions], [trigger.time for trigger in sample.triggers]
    pairs = pair_emissions(*times, tolerance)
    judged: list[EmissionPair] = []
    for place, pair in enumerate(pairs):
        right = _compare_content(sample, pair)
        if right is None and judge_scores is not None and _is_judged(sample.task):
            right = place < len(judge_scores) and judge_scores[place] >= PASS_SCORE
        judged.append(EmissionPair(pair.emission, pair.trigger, pair.distance, right))
    return judged


def _is_judged(task: str) -> bool:
    """Whether the command asks an LLM judge about the task."""
    return CONTENT_KINDS.get(task) == "gpt_judge"


def _compare_content(sample: OmniProSample, pair: EmissionPair) -> bool | None:
    """Whether the content of a pair is right; None where an LLM judge is needed, also for unknown tasks."""
    kind = CONTENT_KINDS.get(sample.task, "gpt_judge")
    if kind == "time_only":
        return True
    if kind == "gpt_judge":
        return None
    emission, trigger = sample.emissions[pair.emission], sample.triggers[pair.trigger]
    parsed = emission.parsed or parse_emission(emission.text, sample.task)
    if not parsed.valid:
        return False
    if kind == "position":
        return _is_same_text(parsed.position, trigger.position)
    if kind == "state":
        return _is_same_text(parsed.state, trigger.state)
    due = trigger.count if kind == "count" else _find_running_count(sample, emission.time)
    return parsed.count is not None and parsed.count == due


def _is_same_text(found: str | None, due: str) -> bool:
    one, other = (found or "").lower().strip(), due.lower().strip()
    return bool(one) and one == other


def _find_running_count(sample: OmniProSample, time: float | None) -> int | None:
    """The count of the last trigger at or before a time; None where there is none, or it is no number."""
    counted = [(trigger.time, trigger.count) for trigger in sample.triggers if trigger.has_count]
    known = [(due, count) for due, count in counted if due is not None and time is not None]
    running: int | None = None
    for due, count in sorted(known, key=lambda item: item[0]):
        if time is not None and due <= time + _COUNT_SLACK_S:
            running = count
    return running


def count_omnipro_sample(
    sample: OmniProSample, tolerance: float = TOLERANCE_S, judge_scores: Sequence[int] | None = None
) -> dict[str, float]:
    """The totals of one sample, without the name of its task."""
    pairs = judge_pairs(sample, tolerance, judge_scores)
    judged = [pair for pair in pairs if pair.right is not None]
    return {
        "samples": 1,
        "pairs": len(pairs),
        "right": sum(bool(pair.right) for pair in judged),
        "judged": len(judged),
        "emissions": len(sample.emissions),
        "triggers": len(sample.triggers),
        "with judge": float(judge_scores is not None and _is_judged(sample.task)),
    }


def omnipro_array_values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of many pooled totals: of all samples pooled, of each task, and the means over tasks.

    A mean over tasks leaves out tasks that the command leaves out: for content those without a judged pair, for joint F1
    narration without an LLM judge. Undefined shares are 0, as in the library.
    """
    tasks = sorted({name.rpartition("/")[0] for name in totals})
    if not tasks:
        nothing = _sample_values({name: np.zeros(()) for name in _NAMES})
        return {**nothing, **{f"macro_{name}": np.full((), np.nan) for name in MEANS}}
    by_task = {task: _task_totals(task, totals) for task in tasks}
    pooled = {name: np.sum([some[name] for some in by_task.values()], axis=0) for name in _NAMES}
    parts = {task: _sample_values(some) for task, some in by_task.items()}
    values = _sample_values(pooled)
    for name in MEANS:
        values[f"macro_{name}"] = _mean_over_tasks(name, parts, by_task)
    for task, some in parts.items():
        values |= {f"{task}/{name}": value for name, value in some.items()}
    return values


_NAMES = ("samples", "pairs", "right", "judged", "emissions", "triggers", "with judge")


def _task_totals(task: str, totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The totals of one task. An absent sum is 0; an absent count of samples or of judges means that there are some."""
    defaults = {"samples": 1.0, "with judge": 1.0}
    found = {name: totals.get(f"{task}/{name}", defaults.get(name, 0.0)) for name in _NAMES}
    shape = np.broadcast_shapes(*(np.shape(value) for value in found.values()))
    return {name: np.broadcast_to(np.asarray(value, dtype=float), shape) for name, value in found.items()}


def _sample_values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    precision = _share(totals["pairs"], totals["emissions"])
    recall = _share(totals["pairs"], totals["triggers"])
    joint = _share(totals["right"], totals["emissions"]), _share(totals["right"], totals["triggers"])
    return {
        "time_precision": precision,
        "time_recall": recall,
        "time_f1": _share(2 * precision * recall, precision + recall),
        "content_accuracy": _share(totals["right"], totals["judged"]),
        "joint_f1": _share(2 * joint[0] * joint[1], joint[0] + joint[1]),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(whole) > 0, np.divide(part, whole), 0.0)


def _mean_over_tasks(
    name: str, parts: Mapping[str, Mapping[str, np.ndarray]], totals: Mapping[str, Mapping[str, np.ndarray]]
) -> np.ndarray:
    """Mean of a value over the tasks that have it; NaN where none has."""
    value = np.stack([np.asarray(parts[task][name], dtype=float) for task in parts])
    present = np.stack([np.asarray(totals[task]["samples"]) > 0 for task in parts])
    judged = np.stack([np.asarray(totals[task]["judged"]) > 0 for task in parts])
    if name == "content_accuracy":
        present = present & judged
    elif name == "joint_f1":
        pending = [_is_judged(task) & (np.asarray(totals[task]["with judge"]) == 0) for task in parts]
        present = present & ~np.stack(pending)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(present, value, 0.0).sum(0) / present.sum(0))


omnipro_values = make_values_of_totals(omnipro_array_values)


def score_omnipro_samples(
    samples: Sequence[OmniProSample],
    tolerance: float = TOLERANCE_S,
    judge_scores: Mapping[str, Sequence[int]] | None = None,
) -> OfficialScore:
    """The official scores of samples.

    Args:
        samples: Questions with their emissions and triggers.
        tolerance: Largest distance of a pair in seconds.
        judge_scores: For narration, by the id of the sample, an LLM judge's scores in the order of the pairs.
    """
    items = []
    for sample in samples:
        scores = (judge_scores or {}).get(sample.id)
        totals = count_omnipro_sample(sample, tolerance, scores)
        timeless = any(emission.time is None for emission in sample.emissions)
        status: ItemStatus = "failed" if timeless else "scored"
        named = {f"{sample.task}/{name}": value for name, value in totals.items()}
        items.append(ItemScore(id=sample.id, video=sample.video, task=sample.task, totals=named, status=status))
    return make_official_score(items, omnipro_values, _describe_quirks(samples, items))


def _describe_quirks(samples: Sequence[OmniProSample], items: Sequence[ItemScore]) -> list[str]:
    notes: list[str] = []
    lost = sum(emission.time is None for sample in samples for emission in sample.emissions)
    if lost:
        notes.append(f"emissions without a time, on which the published scorer stops, count as false alarms: {lost}")
    timeless = sum(trigger.time is None for sample in samples for trigger in sample.triggers)
    if timeless:
        notes.append(f"triggers with an unreadable time count as missed: {timeless}")
    unjudged = sorted(
        {item.task for item in items if _is_judged(item.task) and not item.totals[f"{item.task}/with judge"]}
    )
    if unjudged:
        names = ", ".join(unjudged)
        notes.append(
            f"without an LLM judge the joint F1 of {names} is 0 in the pooled values and left out of the means"
        )
    return notes


@dataclass(frozen=True)
class OmniProCommandReport:
    """The values as the published command prints them: rounded to 4 places, by task and their means over tasks."""

    tasks: Mapping[str, OfficialValues]
    overall: OfficialValues


def make_omnipro_command_report(items: Iterable[ItemScore]) -> OmniProCommandReport:
    """The printed values of scored samples."""
    by_task: dict[str, list[ItemScore]] = defaultdict(list)
    for item in items:
        by_task[item.task].append(item)
    tasks = {task: _command_values(task, by_task[task]) for task in sorted(by_task)}
    overall: OfficialValues = {}
    for name in MEANS if tasks else ():
        known = [value for values in tasks.values() if (value := values[name]) is not None]
        overall[f"macro_{name}"] = round(sum(known) / len(known), 4) if known else None
    return OmniProCommandReport(tasks, overall)


def _command_values(task: str, items: Sequence[ItemScore]) -> OfficialValues:
    totals = pool_item_totals(items)
    values = omnipro_values(totals)
    found = {name: values[f"{task}/{name}"] for name in ("time_precision", "time_recall", "time_f1")}
    found["content_accuracy"] = values[f"{task}/content_accuracy"] if totals[f"{task}/judged"] else None
    is_pending = _is_judged(task) and not totals[f"{task}/with judge"]
    found["joint_f1"] = None if is_pending else values[f"{task}/joint_f1"]
    return {name: None if value is None else round(value, 4) for name, value in found.items()}
