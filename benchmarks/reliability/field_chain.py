"""Run the whole chain on the suites of published benchmarks: run, kill, resume, score, report, gate.

    make bench-field-chain REFERENCE=FOLDER
    python -m benchmarks.reliability.field_chain --reference FOLDER --output reports/field/chain.json

For each suite, a sample of the annotations and tiny videos of noise (`benchmarks.reliability.field_samples`) are replayed under
the suite's first protocol. Without ``--reference`` only suites with invented annotations are run.

* ``seconds``: each command, as a process of its own, with an empty cache for ``run``. ``load_average``: of five minutes, at the end.
* ``nothing_lost``, ``nothing_redone``, ``records_equal``, ``digest_equal``, ``official_equal``: a run that was killed with SIGKILL
  and started again, compared with an uninterrupted run. ``killed_after`` counts the episodes that the kill left.
* ``score_is_stable``, ``report_written``: ``score`` repeats metrics.json and official.json byte for byte; ``report`` writes a page.
* ``gate_passes_same``: the resumed run against a baseline of the uninterrupted one, with equal predictions.
* ``gate_fails_silent``: the silent model against a baseline of the oracle; ``gate_passes_oracle``: the oracle against itself.
* ``missing_refused``, ``missing_skipped``: a missing video without and with ``--on-missing skip``.

The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.reliability.crash import EVAL, contents, finished, start
from benchmarks.reliability.field_samples import (
    ANNOTATIONS,
    WITHOUT_REFERENCE,
    BenchmarkSample,
    write_benchmark_sample,
)
from prospect_core.records import EpisodeRecord
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import load_json
from prospect_eval.suites.gate_rules import MIN_VIDEOS

#: speaking threshold that makes the released checkpoint speak about noise
SPEAKING = "0.05"
#: episodes in parallel: few, so that a kill finds some episodes finished and some not
STREAMS = "2"
#: share of the episodes that must be finished before the kill
KILL_SHARE = 0.4
POLL_S = 0.01
ORACLE, SILENT = "baseline:oracle", "baseline:silent"
#: gate rules that accept no difference in the predictions
SAME_RULES = "exact: [schema, predictions_digest]\n"


@dataclass(frozen=True)
class CommandResult:
    """A finished command: seconds, exit code and output."""

    seconds: float
    code: int
    text: str


@dataclass
class SuiteChain:
    """The commands of one suite and what they showed.

    Attributes:
        sample: Annotations and videos.
        place: Folder for run folders and caches.
        ckpt: Checkpoint of the killed run.
        seconds: Seconds of each stage.
        checks: Whether each check holds.
    """

    sample: BenchmarkSample
    place: Path
    ckpt: str
    seconds: dict[str, float] = field(default_factory=dict)
    checks: dict[str, bool] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        """Return the run folder of this name."""
        return self.place / name

    def make_run_command(self, ckpt: str, folder: str, *options: str) -> list[str]:
        """Return a command that runs the suite."""
        given = ["--ckpt", ckpt, "--suite", self.sample.suite, "--data", str(self.sample.root)]
        return [*EVAL, "run", *given, "--output", str(self.folder(folder)), *options]

    def call(self, command: Sequence[str], stage: str = "", cache: str = "cache") -> CommandResult:
        """Run a command to its end.

        Args:
            command: The command.
            stage: Name under which the seconds are kept; empty to keep none.
            cache: Name of its cache folder.
        """
        begin = time.perf_counter()
        process = start(command, self.place / cache)
        out, error = process.communicate()
        result = CommandResult(time.perf_counter() - begin, process.returncode, out + error)
        if stage:
            self.seconds[stage] = round(result.seconds, 1)
        return result

    def require(self, command: Sequence[str], stage: str = "", cache: str = "cache") -> CommandResult:
        """Run a command that must succeed.

        Raises:
            DataError: The command failed.
        """
        result = self.call(command, stage, cache)
        if result.code:
            raise DataError(f"{self.sample.suite}: `{' '.join(command[3:])}` failed: {result.text.strip()[-500:]}")
        return result


def kill_after_some_episodes(chain: SuiteChain, command: Sequence[str], folder: Path, episodes: int) -> bool:
    """Start a run and kill it with SIGKILL when a part of its episodes is finished.

    Returns:
        Whether the kill came before the end of the run.
    """
    process = start(command, chain.place / "killed-cache")
    while process.poll() is None and len(finished(folder)) < KILL_SHARE * episodes:
        time.sleep(POLL_S)
    killed = process.poll() is None
    if killed:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return killed


def check_resume(chain: SuiteChain) -> dict[str, int]:
    """Run without interruption, then with a kill and a second start; compare both.

    Returns:
        Numbers of episodes, frames, utterances and answers of the uninterrupted run, and of
        episodes that the kill left.
    """
    options = ("--streams", STREAMS, "--speaking-threshold", SPEAKING)
    chain.require(chain.make_run_command(chain.ckpt, "whole", *options), "run")
    whole, killed = chain.folder("whole"), chain.folder("killed")
    records = [
        load_json(EpisodeRecord, file.read_bytes(), str(file)) for file in sorted((whole / "episodes").glob("*.json"))
    ]
    command = chain.make_run_command(chain.ckpt, "killed", *options)
    was_killed = kill_after_some_episodes(chain, command, killed, len(records))
    before = finished(killed)
    chain.require(command, "resume", "killed-cache")
    after = finished(killed)
    chain.checks["killed_midway"] = was_killed and 0 < len(before) < len(records)
    chain.checks["nothing_lost"] = before.keys() <= after.keys()
    chain.checks["nothing_redone"] = all(after.get(name) == mark for name, mark in before.items())
    chain.checks["records_equal"] = contents(killed) == contents(whole)
    chain.checks["digest_equal"] = _read_digest(killed) == _read_digest(whole)
    chain.checks["official_equal"] = _read_official(killed) == _read_official(whole)
    return {
        "episodes": len(records),
        "frames": sum(record.episode.num_frames for record in records),
        "utterances": sum(len(record.utterances) for record in records),
        "answers": sum(len(record.answers) for record in records),
        "killed_after": len(before),
    }


def _read_digest(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_text("utf-8"))["predictions_digest"]


def _read_official(folder: Path) -> bytes:
    return (folder / "official.json").read_bytes()


def check_score_and_report(chain: SuiteChain) -> None:
    """Score the resumed run again and build its report."""
    folder = chain.folder("killed")
    files = [folder / "metrics.json", folder / "official.json"]
    before = [file.read_bytes() for file in files]
    chain.require([*EVAL, "score", str(folder)], "score")
    chain.checks["score_is_stable"] = [file.read_bytes() for file in files] == before
    page = folder / "report.html"
    page.unlink()
    chain.require([*EVAL, "report", str(folder)], "report")
    chain.checks["report_written"] = page.is_file() and page.stat().st_size > 0


def check_gates(chain: SuiteChain) -> None:
    """Gate the resumed run, the oracle and the silent model."""
    rules, same, oracle = (chain.place / name for name in ("rules.yaml", "same.json", "oracle.json"))
    rules.write_text(SAME_RULES, "utf-8")
    whole, killed = str(chain.folder("whole")), str(chain.folder("killed"))
    chain.require([*EVAL, "gate", whole, "--baseline", str(same), "--rules", str(rules), "--update"])
    chain.checks["gate_passes_same"] = _passes(chain, killed, same)
    for ckpt, name in ((ORACLE, "oracle"), (SILENT, "silent")):
        chain.require(chain.make_run_command(ckpt, name))
    # no --rules: the baseline takes those of the suite
    chain.require([*EVAL, "gate", str(chain.folder("oracle")), "--baseline", str(oracle), "--update"], "gate_update")
    chain.checks["gate_passes_oracle"] = _passes(chain, str(chain.folder("oracle")), oracle)
    silent = chain.call([*EVAL, "gate", str(chain.folder("silent")), "--baseline", str(oracle), "--strict"], "gate")
    verdict = json.loads((chain.folder("silent") / "gate.json").read_text("utf-8"))["verdict"]
    chain.checks["gate_fails_silent"] = silent.code == 1 and verdict == "FAIL"


def _passes(chain: SuiteChain, run: str, baseline: Path) -> bool:
    result = chain.call([*EVAL, "gate", run, "--baseline", str(baseline), "--strict", "--json", "-"])
    return result.code == 0 and json.loads((Path(run) / "gate.json").read_text("utf-8"))["verdict"] == "PASS"


def check_missing_video(chain: SuiteChain) -> None:
    """Run the model without one of the videos, which it refuses, and the oracle, which then leaves out its episodes."""
    name = next(iter(chain.sample.videos))
    video = chain.sample.root / name
    away = chain.place / "missing.mp4"
    video.rename(away)
    refused = chain.call(chain.make_run_command(chain.ckpt, "refused"))
    chain.checks["missing_refused"] = refused.code != 0 and Path(name).name in refused.text
    skipped = chain.call(chain.make_run_command(ORACLE, "skipped", "--on-missing", "skip"))
    file = chain.folder("skipped") / "official.json"
    missing = json.loads(file.read_text("utf-8"))["missing_videos"] if file.is_file() else None
    chain.checks["missing_skipped"] = skipped.code == 0 and missing == 1
    away.rename(video)


def run_suite_chain(suite: str, reference: Path | None, videos: int, ckpt: str, place: Path) -> dict[str, Any]:
    """Run the whole chain on one suite.

    Args:
        suite: Name of the suite.
        reference: Folder of published files; may be None for the suites in `WITHOUT_REFERENCE`.
        videos: Number of videos of the sample.
        ckpt: Checkpoint of the killed run.
        place: An empty folder.

    Returns:
        Source of the annotations, counts, seconds by stage and checks.

    Raises:
        DataError: A command that must succeed failed, or the published files are not there.
    """
    if reference is None and suite not in WITHOUT_REFERENCE:
        raise DataError("no folder of published files: give --reference FOLDER")
    root = place / "data"
    root.mkdir()
    sample = write_benchmark_sample(suite, ANNOTATIONS[suite](reference or place), root, videos)
    chain = SuiteChain(sample, place, ckpt)
    counts = check_resume(chain)
    check_score_and_report(chain)
    check_gates(chain)
    check_missing_video(chain)
    lengths = {"videos": len(sample.videos), "video_seconds": sum(sample.videos.values())}
    measured = {"seconds": chain.seconds, "load_average": round(os.getloadavg()[1], 1)}
    return {"annotations": sample.source, **lengths, **counts, **measured, "checks": chain.checks}


def run_suite_chains(
    suites: Sequence[str], run: Callable[[str, Path], dict[str, Any]], jobs: int = 1
) -> dict[str, Any]:
    """Run the chain on suites, each in a temporary folder.

    Args:
        suites: Names of the suites.
        run: Runs the chain on a suite in a folder; a `DataError` is the reason for no result.
        jobs: Suites at the same time.

    Returns:
        The results by suite; None with a reason for a suite without a result.
    """
    reasons: dict[str, str] = {}

    def run_one(suite: str) -> dict[str, Any] | None:
        with tempfile.TemporaryDirectory() as name:
            try:
                result = run(suite, Path(name))
            except (DataError, OSError) as error:
                reasons[suite] = str(error)
                return None
        print(f"{suite}: {json.dumps(result)}", file=sys.stderr, flush=True)
        return result

    with ThreadPoolExecutor(jobs) as pool:
        found = dict(zip(suites, pool.map(run_one, suites), strict=True))
    return {"suites": found, "failed_checks": list_failed_checks(found), **({"reasons": reasons} if reasons else {})}


def list_failed_checks(suites: Mapping[str, Any]) -> list[str]:
    """Return ``SUITE: CHECK`` of the checks that do not hold."""
    return [
        f"{suite}: {check}"
        for suite, result in suites.items()
        if result is not None
        for check, holds in result["checks"].items()
        if not holds
    ]


def write_chain_report(file: Path, result: Mapping[str, Any], command: str) -> None:
    """Write the results, each with its command and commit; an existing report keeps the suites that were not run again.

    Args:
        file: The report.
        result: The results of `run_suite_chains`.
        command: The command that measured them.
    """
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json
    from prospect_eval.runs.environment import collect_run_environment

    environment = collect_run_environment()
    source = {"command": command, "git": environment["git"]}
    suites = json.loads(file.read_text("utf-8"))["suites"] if file.is_file() else {}
    suites |= {suite: {**source, **found} for suite, found in result["suites"].items() if found is not None}
    body = {
        "suites": dict(sorted(suites.items())),
        "failed_checks": list_failed_checks(suites),
        "environment": environment,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, dump_json(body, indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark; exit code 1 if a check does not hold, or a suite stops although published files are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, help="folder of published files [default: none]")
    parser.add_argument("--suites", nargs="+", choices=sorted(ANNOTATIONS), default=sorted(ANNOTATIONS))
    parser.add_argument("--videos", type=int, default=12, help=f"videos of each annotation file, at least {MIN_VIDEOS}")
    parser.add_argument("--ckpt", default="workbench-tiny")
    parser.add_argument("--jobs", type=int, default=1, help="suites at the same time; more than 1 changes the times")
    parser.add_argument("--output", type=Path, help="report; suites that are not run again keep their results in it")
    options = parser.parse_args(arguments)
    if options.videos < MIN_VIDEOS:
        parser.error(f"--videos {options.videos}: a gate with margins needs at least {MIN_VIDEOS}")

    def run(suite: str, place: Path) -> dict[str, Any]:
        return run_suite_chain(suite, options.reference, options.videos, options.ckpt, place)

    result = run_suite_chains(options.suites, run, options.jobs)
    if options.output:
        command = " ".join(["python -m benchmarks.reliability.field_chain", *sys.argv[1:]])
        write_chain_report(options.output, result, command)
    print(json.dumps(result))
    unexpected = options.reference is not None and "reasons" in result
    sys.exit(1 if result["failed_checks"] or unexpected else 0)


if __name__ == "__main__":
    main()
