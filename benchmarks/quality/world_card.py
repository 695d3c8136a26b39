"""Write the workbench's dataset card: contents, difficulty, comparison with ProAssist, and real frames.

`make bench-world` measures the figures and writes reports/workbench/README.md with its pictures.
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from prospect_core.data.dataset import Dataset
from prospect_core.data.stats import make_dataset_stats_table
from prospect_core.timeline import Episode
from prospect_core.workbench.dialogue.writer import USER_TYPES
from prospect_core.workbench.generate import WORLD_VERSION, generate_workbench_video
from prospect_core.workbench.rendering.pictures import render_picture
from prospect_core.workbench.world.levels import LEVELS, SPLITS
from prospect_core.workbench.world.scene import Plan

#: arXiv 2506.05904v1: table 1 (test: hours, videos, dialogues), figure 5 (turns per dialogue,
#: words), table 9 (minutes)
PROASSIST = {
    "Ego4D": (13.2, 33, 99, 53, 26),
    "HoloAssist": (6.8, 97, 291, 68, 5),
    "EgoExoLearn": (9.4, 41, 123, 121, 13),
    "Assembly101": (7.2, 112, 336, 30, 7),
    "EpicKitchens": (4.1, 50, 150, 72, 9),
    "WTaG": (1.3, 7, 21, 76, 11),
}
PROASSIST_WORDS = {"assistant": 16.1, "user": 6.5, "summary": 91.3}
PROASSIST_RESPONSIVE = {"no_talk": 11.3, "talk_some": 21.9, "talk_more": 40.9}
STRIPS = {"normal": ("test", 5), "hard": ("test_hard", 2), "covered": ("test", 3)}


def write_card(folder: Path, body: dict[str, Any], test: Dataset) -> None:
    """Write ``README.md`` and the filmstrips.

    Args:
        folder: Output folder.
        body: Figures of `benchmarks.quality.world`.
        test: The test split's data set.
    """
    for name, (split, number) in STRIPS.items():
        _strip(generate_workbench_video(0, split, number)[1]).save(
            folder.parent / "assets" / f"workbench-{name}.png", optimize=True
        )
    (folder / "README.md").write_text(_card(body, list(test.episodes("test"))))


def _strip(plan: Plan, columns: int = 8, rows: int = 4, every_s: float = 1.5, begin_s: float = 6.0) -> Image.Image:
    """Draw consecutive pictures of a video with their times in seconds below."""
    sheet = Image.new("RGB", (columns * 130 - 2, rows * 144), "white")
    draw = ImageDraw.Draw(sheet)
    for k in range(columns * rows):
        time = begin_s + every_s * k
        if time >= plan.duration:
            break
        x, y = 130 * (k % columns), 144 * (k // columns)
        sheet.paste(render_picture(plan, time).resize((128, 128), Image.Resampling.LANCZOS), (x, y))
        draw.text((x + 2, y + 130), f"{time:g} s", fill="black")
    return sheet.quantize(128)


def _card(body: dict[str, Any], episodes: list[Episode]) -> str:
    details, stats = body["details"], body["details"]["statistics"]
    questions = details["questions"]
    return f"""# The workbench, world {WORLD_VERSION}

Procedural first-person videos with dialogue and exact step states: real H.264 files ({_size()} px, 8 fps, sampled at
2 fps), no download, deterministic by seed. `prospect data workbench --output data/workbench` writes train, val and test;
the other splits are made on first use (`--suite workbench --split test_hard`) or by their options.

![A test video, a picture every 1.5 s](../assets/workbench-normal.png)

A person works through a list of 4 to 12 steps made of chains such as *fetch, wipe, put*: five verbs, 36 looks of things,
two tools, bowls, a drawer, three containers. The person follows the list or does something else first, pauses, leaves steps half
done, takes things that belong to no step, uses the wrong place, undoes steps, leaves steps out. The camera follows the
hand and looks elsewhere in pauses; the bench is wider than the view; jugs and hands hide things; light drifts and lamps
switch. What is put away, covered or in the drawer is out of sight, and a wipe leaves no trace.

## How hard it is

Measured on test by `make bench-world` ({body["environment"]["git"]}, {body["environment"]["processor"]}), intervals over {stats["videos"]} videos.
The observers read the simulator's truth: they know what the pixels mean, but not what they have not seen.

| what | measure | value |
|---|---|---|
{_rows(details)}

The trackers' and observers' tables, and every speaker's, are in [world.json](world.json). Of an observer's two accuracies
(alone, or with a notebook that takes every legal change) the better one is shown. Who writes down at once what each few
seconds tell needs no longer memory for the *state*: that is what `observer_all` does. Longer memory is needed by who keeps no
notebook, and for the order in which things were done.

## Questions

{questions["questions"]} questions: {", ".join(f"{kind} {100 * share:.1f} %" for kind, share in questions["share"].items())}; yes among yes and no: {100 * questions["yes_share"]:.1f} %.
Whether an answer about the past is yes or no, and whether it is what the list suggests, goes by turns; what is asked has
left no trace in the picture. Chance is one over the number of answers given; of two things, one is mentioned first.

| kind | always the most frequent answer | chance | one frame | ten seconds | everything |
|---|---|---|---|---|---|
{_answers(details)}

## Beside ProAssist

| test set | hours | videos | dialogues | turns a dialogue | minutes a video |
|---|---|---|---|---|---|
{_beside(stats, episodes)}

Words: assistant {stats["words an assistant turn (mean)"]} (ProAssist {PROASSIST_WORDS["assistant"]}), user {stats["words a user turn (mean)"]} ({PROASSIST_WORDS["user"]}), progress summary {stats["words a progress summary (mean)"]} ({PROASSIST_WORDS["summary"]}).
Turns that answer the user: {_responsive(episodes)}. Speaking on {stats["speaking frames (%)"]} % of frames.
ProAssist's figures: arXiv 2506.05904v1, tables 1 and 9 and figure 5; minutes a video are its whole source sets'.

## Read by eye

Ten filmstrips of a fresh seed (test, seed 11: 82 steps done, 30 mishaps), a picture every 1.5 s, read before the annotation
was opened: 80 of the 82 steps were named with thing and place, all in their order, and all 30 mishaps (wrong thing,
wrong place, set aside, undone). Both misses took one container for its neighbour while the camera turned. See for yourself:
`prospect data preview data/workbench --split test --episode 0 --html film.html --hide-events`.

## Splits and levels

| split | videos | steps | level | paraphrases | length |
|---|---|---|---|---|---|
{_splits()}

Splits share no video; any other `--seed` gives a fresh set of the same kind. One look in six and four pairs of verb and
kind occur in `test_ood` only. Test splits also use paraphrases that training never sees. `--level` sets another
difficulty: {"; ".join(_level(name) for name in LEVELS)}.

![The hard level](../assets/workbench-hard.png)
![Fetching, covering: what is under a bowl is out of sight](../assets/workbench-covered.png)

Generating test took {body["generate_test_s"]:.0f} s on {body["processes"]} processes. The same seed gave the same annotation and video bytes: {_yes(details["repeated"]["same_annotation"] and details["repeated"]["same_videos"])};
videos shared with another seed: {details["repeated"]["videos_shared_with_other_seed"]}. Exported in ProAssist's format and imported back, equal: {_yes(details["proassist_round_trip_equal"])}.

## Known limits

* Drawn, not filmed: flat shapes from above, one hand, one bench, no sound. A model that is good here has shown that it can watch, remember,
  time and speak; not that it can see the real world.
* The person never reacts to the assistant: replay is open loop, as with recorded videos.
* Sentences are short and come from some eighty templates; a question names its step in the words of the list.
* The assistant always names the first open step of the list, even where the person has reasons for another order.
* In `test_long` undoing and idling fill the time; its tasks have 20 to 32 steps.
* A reminder comes after eight quiet seconds: a rule that a model can learn by counting.
"""


def _size() -> str:
    pixels = np.asarray(render_picture(generate_workbench_video(0, "val", 0)[1], 0.0))
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def _number(entry: dict[str, Any]) -> str:
    if entry["value"] is None:
        return "–"
    return f"{entry['value']:.3f}" + (f" [{entry['ci95'][0]:.3f}, {entry['ci95'][1]:.3f}]" if entry["ci95"] else "")


def _rows(details: dict[str, Any]) -> str:
    name, best = max(details["speakers"].items(), key=lambda item: item[1]["proactive_event_f1@1s"]["value"] or 0)
    rows = [(f"best trivial speaker ({name})", "proactive_event_f1@1s", best["proactive_event_f1@1s"])]
    rows += [(tracker, "dst_jga", table["dst_jga"]) for tracker, table in details["trackers"].items()]
    sees = {"observer_frame": "sees one frame", "observer_10s": "sees ten seconds", "observer_all": "sees everything"}
    rows += [
        (f"{k}: {sees[k]}", "joint goal accuracy", table["best_jga"])
        for k, table in details["limited_observers"].items()
    ]
    return "\n".join(f"| {what} | {measure} | {_number(entry)} |" for what, measure, entry in rows)


def _answers(details: dict[str, Any]) -> str:
    lines = []
    for kind, entry in details["questions"]["majority"].items():
        seen = [_number(table[f"answer_accuracy@{kind}"]) for table in details["limited_observers"].values()]
        lines.append(f"| {kind} | {entry['accuracy']:.3f} | {entry['chance']:.3f} | {' | '.join(seen)} |")
    return "\n".join(lines)


def _beside(stats: dict[str, Any], episodes: list[Episode]) -> str:
    turns = mean(len(e.user_turns()) + len(e.utterances()) for e in episodes)
    minutes = 60 * stats["video hours"] / stats["videos"]
    lines = [
        f"| **workbench** | {stats['video hours']:.1f} | {stats['videos']} | {stats['episodes']} | {turns:.0f} | {minutes:.1f} |"
    ]
    lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in PROASSIST.items()]
    return "\n".join(lines)


def _responsive(episodes: list[Episode]) -> str:
    out = []
    for kind in USER_TYPES:
        share = make_dataset_stats_table([e for e in episodes if e.user_type == kind])["responsive turns (%)"]
        out.append(f"{kind} {share} % (ProAssist {PROASSIST_RESPONSIVE[kind]} %)")
    return ", ".join(out)


def _splits() -> str:
    lines = []
    for name, spec in SPLITS.items():
        length = f"{min(spec.minutes)} to {max(spec.minutes)} min" if spec.minutes else "by the task"
        words = "also unseen" if spec.unseen_phrases else "seen"
        tasks = ", unseen combinations" if spec.unseen_tasks else ""
        lines.append(
            f"| {name} | {spec.videos} | {spec.steps[0]} to {spec.steps[1]}{tasks} | {spec.level} | {words} | {length} |"
        )
    return "\n".join(lines)


def _level(name: str) -> str:
    level = LEVELS[name]
    return f"{name} (clutter {level.clutter[0]} to {level.clutter[1]}, head sways {level.sway:g} px and {level.roll:g}°, {level.occluders} jug(s))"


def _yes(value: bool) -> str:
    return "yes" if value else "NO"
