"""Build ``report.html`` of a run folder: the scores beside the baselines, every episode, timelines of some.

prospect-eval report runs/first
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prospect_core.errors import DataError
from prospect_core.jsonio import read_json, write_atomic
from prospect_core.records import EpisodeRecord
from prospect_core.timeline import STEP_STATES
from prospect_core.train.validation import FORCED
from prospect_eval.metrics import Scored, Tools, dst, speaking
from prospect_eval.metrics.base import GOOD_SIMILARITY, f1
from prospect_eval.report.timeline import draw_timeline
from prospect_eval.run import RunConfig
from prospect_eval.suites import open_data
from prospect_eval.tools import make_tools

FAMILIES: dict[str, tuple[str, ...]] = {
    "Context": ("cache", "compression", "dst_jga_before", "dst_jga_after", "dst_head_jga_before", "dst_head_jga_after",
                "speaking_event_f1@2s_"),
    "Speaking": ("speaking", "proactive", "responsive", "false_alarms"),
    "Timing as others measure it": ("chunk", "sw_f1", "estp", "pauc"),
    "Matched dialogue": ("matched",),
    "Text of matched pairs": ("bleu", "chrf", "meteor", "cider", "similarity"),
    "Answers and content": ("answer_accuracy", "content_accuracy"),
    "Retention": ("dst_jga@", "dst_head_jga@"),
    "Dialog state": ("dst", "transition", "update"),
}  # fmt: skip
HEADLINE = (
    "speaking_event_f1@2s",
    "matched_f1",
    "dst_jga",
    "transition_f1@2s",
    "similarity",
    "cache_peak_bytes",
)
#: metrics whose parts are shown
IN_PARTS = (
    "speaking_event_f1@1s", "speaking_event_f1@2s", "speaking_event_recall@2s", "speaking_delay_median_s",
    "speaking_missed_rate", "false_alarms_per_minute", "matched_f1", "matched_recall", "similarity", "content_accuracy",
    "answer_accuracy@present", "answer_accuracy@past", "answer_accuracy@remainder",
    "dst_jga", "dst_head_jga", "transition_f1@2s", "dst_final_accuracy", "cache_peak_tokens",
)  # fmt: skip
MAX_TIMELINES = 12


def write_report(
    folder: Path,
    config: RunConfig,
    records: Sequence[EpisodeRecord],
    metrics: dict[str, Any],
    tools: Tools | None = None,
) -> Path:
    """Render the report beside the records; returns its path."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("prospect_eval.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "interval": interval}
    good = [record for record in records if record.status == "ok"]
    tools = tools or make_tools()
    scored = Scored.over(good, tools)
    shown = _spread(scored, MAX_TIMELINES)
    html = environment.get_template("report.html.j2").render(
        config=config,
        environment=read_json(folder / "run.json")["environment"],
        metrics=metrics["metrics"],
        baselines=metrics["baselines"],
        counts=metrics["episodes"],
        digest=metrics["predictions_digest"],
        families=_families(metrics["metrics"]),
        headline=[name for name in HEADLINE if name in metrics["metrics"]],
        failed=[record for record in records if record.status != "ok"],
        episodes=[_episode_row(item, item in shown) for item in scored],
        timelines=[draw_timeline(item, _thumbnails(config, item.record)) for item in shown],
        cut=sum(u.cut for r in good for u in r.utterances),
        wordnet=tools.wordnet,
        splits=metrics["splits"],
        shown_in_parts=IN_PARTS,
        states=[state.replace("_", " ") for state in STEP_STATES],
        confusion=metrics["confusion"],
        agreement=metrics["timing_agreement"],
        passes=_passes(folder),
        profile=_profile(folder),
        peeked=_thresholds_peeked(config),
    )
    path = folder / "report.html"
    write_atomic(path, html)
    return path


def _passes(folder: Path) -> list[dict[str, Any]]:
    """What was taken beside the replay and lies in the run folder, with what it is and is not."""
    out = []
    for file, title, text in (
        ("timings.json", "Latency and memory of a plain pass", "Frame by frame as if live, on the hardware named below."),
        ("teacher_forced.json", "Teacher-forced pass",
         "Over the reference's own context, so that errors never compound: a diagnostic, not a score of the stream."),
        ("judge.json", "A language model's opinion",
         "1 to 5; beside it how far repeats of a judgement agree (share of equal pairs, Krippendorff's alpha)."),
    ):  # fmt: skip
        found = read_json(folder / file) if (folder / file).is_file() else {}
        # a replay alone has no latency: no table of dashes
        if any(entry["value"] is not None for entry in found.get("metrics", {}).values()):
            beside = found.get("agreement", {})
            more = ["equal", "alpha"] if beside else []
            if file == "judge.json":
                wrong = sum(found["replies"]["unreadable"].values())
                text += f" {wrong} of {found['replies']['asked']} replies of {found['judge']} could not be read."
            out.append({"title": title, "text": text, "metrics": found["metrics"], "beside": beside, "more": more})
    return out


def _profile(folder: Path) -> list[tuple[str, float, float]]:
    """(stage, seconds, share) of all episodes together, the largest first; empty where nothing was timed."""
    file = folder / "timings.json"
    rows = read_json(file).get("episodes", {}).values() if file.is_file() else ()
    total: dict[str, float] = {}
    for row in rows:
        for stage, seconds in row["stages"].items():
            total[stage] = total.get(stage, 0.0) + seconds
    whole = sum(total.values())
    return [(s, t, t / whole) for s, t in sorted(total.items(), key=lambda item: -item[1])] if whole else []


def _thresholds_peeked(config: RunConfig) -> bool:
    """Whether the thresholds were chosen on the data that they are tested on, or on test data at all."""
    source, _, mark = config.thresholds_from.partition(" ")
    return f" {mark}" == FORCED or source.endswith(f"/{config.split}/{config.data_digest[:16]}")


def number(value: float | None, unit: str = "") -> str:
    """A value as people read it; a dash for what is undefined."""
    if value is None:
        return "–"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.2f} M"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def interval(ci: Sequence[float] | None) -> str:
    """``[low, high]``, or nothing."""
    return f"[{number(ci[0])}, {number(ci[1])}]" if ci else ""


def _families(metrics: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Metric names by family, each exactly once, in the order of the metrics."""
    left = list(metrics)
    out = []
    for family, prefixes in FAMILIES.items():
        names = [name for name in left if name.startswith(prefixes)]
        left = [name for name in left if name not in names]
        out.append((family, names))
    return [*out, ("Other", left)] if left else out


def _episode_row(scored: Scored, shown: bool) -> dict[str, Any]:
    record = scored.record
    good = sum(cosine > GOOD_SIMILARITY for cosine in scored.matching.similarities)
    goal = dst.joint_goal(scored)
    counts = speaking.event_counts(2)(scored)
    return {
        "id": record.episode.id,
        "shown": shown,
        "user_type": record.episode.user_type,
        "seconds": record.episode.num_frames / record.episode.fps,
        "said": len(record.utterances),
        "reference": len(scored.references),
        "good": good,
        "f1": float(f1(counts)) if counts[1] + counts[2] else None,
        "jga": None if isinstance(goal, str) else float(goal[0]),
        "peak": max(record.cache_tokens, default=None),
        "compressions": len(record.compressions),
    }


def _spread(scored: Sequence[Scored], count: int) -> list[Scored]:
    """Evenly spread over the episodes, first and last included."""
    if len(scored) <= count:
        return list(scored)
    return [scored[round(k * (len(scored) - 1) / (count - 1))] for k in range(count)]


def _thumbnails(config: RunConfig, record: EpisodeRecord) -> dict[int, bytes]:
    """JPEG pictures at the frames of reference and predicted turns; none when the video is not at hand."""
    import io

    from PIL import Image

    frames = sorted({u.frame for u in record.episode.utterances()} | {u.frame for u in record.utterances})[:40]
    if not frames:
        return {}
    try:
        source = open_data(config.data, config.split).frame_source(record.episode, 96)
        wanted, out = set(frames), {}
        for number_, picture in enumerate(source.frames(frames[0], frames[-1] + 1), frames[0]):
            if number_ in wanted:
                buffer = io.BytesIO()
                Image.fromarray(picture).save(buffer, "JPEG", quality=70)
                out[number_] = buffer.getvalue()
        return out
    except DataError:
        return {}
