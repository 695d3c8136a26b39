"""The gate passes equal runs, fails worse ones, and is inconclusive with too little data."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from prospect_core.records import Knobs, digest_records
from prospect_core.timeline import Episode, Event, Step, Task
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json
from prospect_eval.cli.commands import prospect_eval
from prospect_eval.gate.formats import format_gate_as_junit, format_gate_as_markdown
from prospect_eval.gate.gate import check_gate, make_gate_baseline, read_gate_baseline
from prospect_eval.metrics import Scored, all_metrics
from prospect_eval.models.baselines.trivial import make_trivial_baseline
from prospect_eval.runs.folder import RunConfig
from prospect_eval.runs.schemas import pack_counts_schema
from prospect_eval.scoring.score import write_score_metrics
from prospect_eval.suites.gate_rules import make_gate_rules
from prospect_eval.suites.suite import open_suite
from tests.helpers.predictions import TOOLS
from tests.helpers.tiers import nightly

METRICS = all_metrics(TOOLS)
SPEAKING = "speaking_event_f1@2s"
RULES = make_gate_rules(
    {"exact": ["schema"], "metrics": {SPEAKING: {"margin": 0.02}, "dst_jga": {"margin": 0.02}}}, "test"
)
SCORED = (SPEAKING, "dst_jga", "matched_precision", "false_alarms_per_minute", "compressions")
VIDEOS = 24


def episodes(count):
    """One episode per video with eight turns and two steps at random times."""
    rng, out = random.Random(4), []
    task = Task("t", (Step("S1", "one"), Step("S2", "two")))
    for k in range(count):
        frames, frame = [], 0
        for _ in range(12):
            frame += rng.randint(8, 16)
            frames.append(frame)
        changes = [("S1", "start"), ("S1", "complete"), ("S2", "start"), ("S2", "complete")]
        steps = sorted(rng.sample(range(12), 4))
        events = []
        for place, at in enumerate(frames):
            if place in steps:
                step, change = changes[steps.index(place)]
                events.append(Event(f"d{at}", at / 2, "transition", step=step, change=change))
            else:
                events.append(Event(f"a{at}", at / 2, "assistant", f"turn {place} of {k}"))
        out.append(Episode(f"e{k:02d}", f"v{k:02d}", 2, 0, frame + 10, task, tuple(events), dataset="x").validate())
    return out


def dropped(record, share, rng):
    """Remove each utterance with this probability."""
    return replace(record, utterances=tuple(u for u in record.utterances if rng.random() >= share))


@pytest.fixture(scope="module")
def oracle():
    return [make_trivial_baseline("oracle", [])(episode) for episode in episodes(VIDEOS)]


def write_run(folder: Path, records, data="d" * 64, strategy="none") -> Path:
    config = RunConfig(
        "m", "0" * 64, "data", data, "test", None, Knobs(strategy, None if strategy == "none" else 99), "c"
    )
    folder.mkdir(parents=True)
    good = [r for r in records if r.status == "ok"]
    scored, some = Scored.over(records, TOOLS), [m for m in METRICS if m.name in SCORED]
    of = {m.name: m.pooled((s.record.episode.video, m.counts(s)) for s in scored) for m in some}
    table = {
        "schema": 1,
        "predictions_digest": digest_records(records),
        "episodes": {
            "scored": len(good),
            "failed": len(records) - len(good),
            "failed_ids": [r.episode.id for r in records if r.status != "ok"],
        },
        "metrics": {m.name: m.entry(of[m.name]) for m in some},
        "clusters": {s.record.episode.id: s.record.episode.video for s in scored},
        "counts": {
            m.name: {
                s.record.episode.id: pack_counts_schema(row) for s in scored if not isinstance(row := m.counts(s), str)
            }
            for m in some
        },
    }
    (folder / "run.json").write_text(dump_json({"schema": 1, "config": asdict(config), "environment": {}}))
    write_score_metrics(folder, table)
    (folder / "DONE.json").write_text(dump_json({"schema": 1}))
    return folder


@pytest.fixture(scope="module")
def folders(oracle, tmp_path_factory):
    """Run folders: the oracle twice, runs without some turns, five videos, other data, another
    strategy.
    """
    root, rng = tmp_path_factory.mktemp("gate"), random.Random(1)
    write_run(root / "good", oracle)
    write_run(root / "same", oracle)
    for share in (0.01, 0.05, 0.1, 0.2, 0.4):
        write_run(root / f"drop-{share}", [dropped(r, share, rng) for r in oracle])
    write_run(root / "five", oracle[:5])
    write_run(root / "most", oracle[:20])
    write_run(root / "other", oracle, data="e" * 64)
    write_run(root / "forgetful", oracle, strategy="drop_all")
    return root


@pytest.fixture(scope="module")
def held(folders):
    """The baseline of the perfect run."""
    return make_gate_baseline(folders / "good", RULES, METRICS, "test")


def verdicts(gate):
    return {check.name: check.verdict for check in gate.checks}


def test_check_gate_same_run_passes(folders, held):
    gate = check_gate(folders / "same", held, METRICS)
    assert gate.verdict == "PASS"
    assert gate.passes
    assert verdicts(gate) == {"failed episodes": "PASS", "schema": "PASS", SPEAKING: "PASS", "dst_jga": "PASS"}
    checked = next(check for check in gate.checks if check.name == SPEAKING)
    assert (checked.difference, checked.ci95, checked.videos) == (0, None, VIDEOS)
    assert checked.reason == "equal on every video"


def test_check_gate_loss_above_detectable_fails(folders, held):
    """A loss above the detectable loss fails, and a loss below the margin never does."""
    seen = {c.verdict for c in check_gate(folders / "same", held, METRICS).checks if c.name == SPEAKING}
    for share in (0.01, 0.05, 0.1, 0.2, 0.4):
        check = next(c for c in check_gate(folders / f"drop-{share}", held, METRICS).checks if c.name == SPEAKING)
        if -check.difference > check.margin + check.detectable:
            assert check.verdict == "FAIL", share
        if -check.difference <= check.margin:
            assert check.verdict != "FAIL", share
        seen.add(check.verdict)
        assert verdicts(check_gate(folders / f"drop-{share}", held, METRICS))["dst_jga"] == "PASS"
    assert seen == {"PASS", "INCONCLUSIVE", "FAIL"}


@pytest.mark.slow
def test_check_gate_power_equals_simulation(oracle):
    """Losses of the stated size fail in about four of five cases, losses of the margin in one of
    forty.
    """
    metric = next(m for m in METRICS if m.name == SPEAKING)
    from prospect_eval.gate.gate import _non_inferior

    def counts(records):
        return metric.pooled(
            (r.episode.video, metric.counts(s)) for r, s in zip(records, Scored.over(records, TOOLS), strict=True)
        ).table

    before = counts(oracle)
    rng = random.Random(3)

    def fails(share, margin, times=120):
        out, stated = [], []
        for _ in range(times):
            after = counts([dropped(r, share, rng) for r in oracle])
            now = float(metric.value(after.sum(0)))
            check = _non_inferior(SPEAKING, margin, metric.statistic, (1.0, now), (before, after))
            out.append(check.verdict == "FAIL")
            stated.append(margin + check.detectable)
        return np.mean(out), np.mean(stated)

    # leaving out a share p of the turns costs p / (2 - p) of F1
    share = 0.12
    loss = share / (2 - share)
    _, stated = fails(share, 0.0, 20)
    found, stated = fails(share, loss - stated)
    assert stated == pytest.approx(loss, rel=0.15)
    assert 0.65 < found < 0.95
    wrongly, _ = fails(share, loss)
    assert wrongly < 0.08


def test_check_gate_five_videos_is_inconclusive(folders, held):
    gate = check_gate(folders / "five", held, METRICS, intersect=True)
    assert gate.verdict == "INCONCLUSIVE"
    assert gate.passes
    assert not replace(gate, strict=True).passes
    assert "5 videos in common; at least 10 are needed" in next(c.reason for c in gate.checks if c.name == SPEAKING)


def test_check_gate_part_of_videos_raises(folders, held):
    with pytest.raises(UserError, match=r"has 20 of the baseline's 24 episodes and 0 others; --intersect"):
        check_gate(folders / "most", held, METRICS)
    gate = check_gate(folders / "most", held, METRICS, intersect=True)
    assert gate.notes == ("4 episodes left out, because only the run or only the baseline has them",)


def test_check_gate_inconclusive_reports_needed_videos(folders, held):
    check = next(c for c in check_gate(folders / "drop-0.05", held, METRICS).checks if c.name == SPEAKING)
    assert check.verdict == "INCONCLUSIVE"
    low, high = check.ci95
    room = check.difference + check.margin
    reach = check.difference - low if room > 0 else high - check.difference
    needed = int(np.ceil(VIDEOS * (reach / abs(room)) ** 2))
    assert check.reason == f"too few videos to decide: 24, about {needed:,} are needed"


def test_check_gate_other_thresholds_are_noted(oracle, held, tmp_path):
    folder = write_run(tmp_path / "moved", oracle)
    body = json.loads((folder / "run.json").read_text())
    body["config"]["knobs"]["speaking_threshold"] = 0.97
    (folder / "run.json").write_text(json.dumps(body))
    (note,) = check_gate(folder, held, METRICS).notes
    assert note.startswith("speaking threshold is 0.97, in the baseline ")


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["workbench", "workbench_long", "proassist"])
def test_check_gate_silent_model_fails_every_suite(suite, oracle, tmp_path):
    from prospect_eval.scoring.score import score_records

    rules = open_suite(suite).rules()
    some = replace(rules, metrics={k: v for k, v in rules.metrics.items() if "cache" not in k})
    for name, records in (
        ("good", oracle),
        ("silent", [make_trivial_baseline("silent", [])(r.episode) for r in oracle]),
    ):
        folder = write_run(tmp_path / name, records)
        write_score_metrics(folder, score_records(records, TOOLS))
    gate = check_gate(tmp_path / "silent", make_gate_baseline(tmp_path / "good", some, METRICS, "test"), METRICS)
    assert gate.verdict == "FAIL"


def test_check_gate_exact_values_must_be_equal(folders):
    rules = make_gate_rules({"exact": ["predictions_digest", "compressions"]}, "test")
    base = make_gate_baseline(folders / "good", rules, METRICS, "test")
    assert check_gate(folders / "same", base, METRICS).verdict == "PASS"
    assert verdicts(check_gate(folders / "drop-0.01", base, METRICS))["predictions_digest"] == "FAIL"


def test_check_gate_undefined_now_fails(folders, oracle, tmp_path):
    rules = make_gate_rules({"metrics": {"matched_precision": {"margin": 0.5}}}, "test")
    base = make_gate_baseline(folders / "good", rules, METRICS, "test")
    silent = write_run(tmp_path / "silent", [replace(r, utterances=()) for r in oracle])
    check = check_gate(silent, base, METRICS).checks[-1]
    assert (check.verdict, check.now) == ("FAIL", None)


def test_check_gate_lower_is_better_by_rule_or_metric(folders, oracle, tmp_path):
    name = "false_alarms_per_minute"
    base = make_gate_baseline(
        folders / "good", make_gate_rules({"metrics": {name: {"margin": 0.05}}}, "test"), METRICS, "test"
    )
    noisy = [replace(r, utterances=tuple(sorted((*r.utterances, replace(r.utterances[0], frame=3)), key=lambda u: u.frame)))
             for r in oracle]  # fmt: skip
    check = check_gate(write_run(tmp_path / "noisy", noisy), base, METRICS).checks[-1]
    assert check.now > check.baseline
    assert check.verdict == "FAIL"


def test_check_gate_more_failed_episodes_fails(folders, held, oracle, tmp_path):
    broken = replace(oracle[0], status="failed", error="broken video")
    folder = write_run(tmp_path / "broken", [broken, *oracle[1:]])
    assert verdicts(check_gate(folder, held, METRICS))["failed episodes"] == "FAIL"


def test_check_gate_unusable_input_raises(folders, held, tmp_path):
    with pytest.raises(DataError, match="data differs from the baseline's"):
        check_gate(folders / "other", held, METRICS)
    with pytest.raises(UserError, match=r"knobs\.strategy is drop_all, in the baseline none"):
        check_gate(folders / "forgetful", held, METRICS)
    with pytest.raises(DataError, match="not a run folder"):
        check_gate(tmp_path, held, METRICS)
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"schema": 2, "counts": {}}))
    with pytest.raises(DataError, match="not a gate baseline"):
        read_gate_baseline(broken)
    measured = json.loads(json.dumps(held))
    measured["metrics"]["dst_jga"]["signature"] += "|new:1"
    with pytest.raises(DataError, match="dst_jga was measured differently"):
        check_gate(folders / "good", measured, METRICS)


def run(*args):
    with pytest.raises(SystemExit) as stop:
        prospect_eval([str(a) for a in args])
    return stop.value.code or 0


def test_gate_command_writes_baseline_and_exit_codes(folders, tmp_path, capsys):
    base, rules = tmp_path / "base.json", tmp_path / "rules.yaml"
    rules.write_text("exact: [schema]\nmetrics:\n  speaking_event_f1@2s: {margin: 0.02}\n")
    assert run("gate", folders / "good", "--baseline", base) == 3
    assert "no such baseline" in capsys.readouterr().err
    assert run("gate", folders / "good", "--baseline", base, "--update") == 2
    assert "has no gate rules; give --rules FILE" in capsys.readouterr().err
    assert run("gate", folders / "good", "--baseline", base, "--rules", rules, "--update") == 0
    told = json.loads(base.read_text())["provenance"]
    assert told["run"] == "good"
    assert told["config"]["data_digest"] == "d" * 64
    assert run("gate", folders / "same", "--baseline", base) == 0
    assert capsys.readouterr().out.strip().endswith("PASS")
    files = [tmp_path / name for name in ("g.md", "g.xml", "g.json")]
    given = ("--markdown", files[0], "--junit", files[1], "--json", files[2])
    assert run("gate", folders / "drop-0.4", "--baseline", base, *given) == 1
    assert "### ❌ FAIL: `drop-0.4` against `base.json`" in files[0].read_text()
    suite = ElementTree.parse(files[1]).getroot().find("testsuite")
    assert suite.get("failures") == "1"
    assert [case.get("name") for case in suite if case.find("failure") is not None] == [SPEAKING]
    assert json.loads(files[2].read_text())["verdict"] == "FAIL"
    assert run("gate", folders / "five", "--baseline", base) == 2
    assert run("gate", folders / "five", "--baseline", base, "--intersect") == 0
    assert run("gate", folders / "five", "--baseline", base, "--intersect", "--strict") == 1
    assert run("gate", folders / "other", "--baseline", base) == 3
    # another run becomes the baseline, with the same rules
    assert run("gate", folders / "drop-0.4", "--baseline", base, "--update") == 0
    assert run("gate", folders / "drop-0.4", "--baseline", base) == 0


def test_gate_formats_odd_names_are_escaped(folders, held):
    gate = check_gate(folders / "five", held, METRICS, intersect=True)
    odd = "a|b\n<script>`x`</script>\x07\u202e"
    table = format_gate_as_markdown(gate, odd, "base")
    # in a code span nothing is markup, and no backtick ends it
    assert table.splitlines()[0] == "### ❔ INCONCLUSIVE: `a\\|b <script>'x'</script>\x07\u202e` against `base`"
    assert all(line.count(" | ") == table.splitlines()[2].count(" | ") for line in table.splitlines()[4:8])
    assert "<script>" in ElementTree.fromstring(format_gate_as_junit(gate, odd).encode()).find("testsuite").get("name")


def test_make_gate_baseline_unknown_metric_suggests_nearest(folders):
    rules = make_gate_rules({"metrics": {"dst_jag": {"margin": 0.1}}}, "r")
    with pytest.raises(UserError, match="unknown metric 'dst_jag'; did you mean 'dst_jga'"):
        make_gate_baseline(folders / "good", rules, METRICS, "r")


@pytest.mark.slow
@pytest.mark.parametrize("replays", [5, nightly(20)])
def test_gate_command_repeated_replay_passes(checkpoint, short_world, tmp_path, capsys, replays):
    """For any number of concurrent streams."""
    rules, base = tmp_path / "rules.yaml", tmp_path / "base.json"
    rules.write_text("exact: [schema, predictions_digest, cache_peak_bytes, compressions]")
    digests = set()
    for k in range(replays):
        folder = tmp_path / f"run{k}"
        given = ("--data", short_world.root, "--output", folder, "--streams", 1 + k % 5)
        assert run("run", "--ckpt", checkpoint, *given) == 0
        if not k:
            assert run("gate", folder, "--baseline", base, "--rules", rules, "--update") == 0
        assert run("gate", folder, "--baseline", base) == 0
        assert capsys.readouterr().out.strip().endswith("PASS")
        digests.add(json.loads((folder / "DONE.json").read_text())["predictions_digest"])
    assert len(digests) == 1


def test_gate_command_undefined_on_both_sides_passes(oracle, tmp_path, capsys):
    rules = tmp_path / "rules.yaml"
    rules.write_text("metrics:\n  dst_jga: {margin: 0.02}\n  matched_precision: {margin: 0.1}\n")
    silent = write_run(tmp_path / "silent", [replace(r, utterances=()) for r in oracle])
    given = (silent, "--baseline", tmp_path / "b.json")
    assert run("gate", *given, "--rules", rules, "--update") == 0
    assert "not compared by this baseline, because undefined in this run: matched_precision" in capsys.readouterr().err
    assert run("gate", *given, "--strict") == 0
    assert "undefined in both" in capsys.readouterr().out


def checked(first, second, margin):
    from prospect_eval.gate.gate import _non_inferior
    from prospect_eval.metrics.base import ratio
    from prospect_eval.stats.bootstrap import Statistic

    return _non_inferior("m", margin, Statistic(ratio), (1.0, 1.0), (np.array(first), np.array(second)))


def test_non_inferior_one_defined_video_is_inconclusive():
    rest = [[0.0, 0.0]] * 11
    check = checked([[1.0, 2.0], *rest], [[2.0, 2.0], *rest], 0.1)
    assert (check.verdict, check.reason) == ("INCONCLUSIVE", "undefined in too many resamples")


def test_non_inferior_constant_change_is_compared_with_margin():
    first, second = [[5.0, 1.0]] * 12, [[4.0, 1.0]] * 12
    assert checked(first, second, 2.0).verdict == "PASS"
    assert checked(first, second, 0.5).verdict == "FAIL"
