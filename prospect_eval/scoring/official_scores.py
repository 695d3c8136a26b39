"""Official numbers of a published benchmark for a run and for constant answers (``official.json``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.scoring.official_constants import write_official_constants
from prospect_eval.scoring.published_timing import score_published_timing
from prospect_eval.suites.benchmark import Benchmark
from prospect_eval.suites.benchmark_dataset import OpenedBenchmark, open_benchmark
from prospect_eval.suites.official_intervals import find_official_intervals
from prospect_eval.suites.official_score import ItemScore, OfficialScore, make_official_score

FILE = "official.json"
SCHEMA = 1
#: protocol of published result files
PUBLISHED_PROTOCOL = "as published; the files do not say how the model was asked"


@dataclass(frozen=True)
class OfficialScoring:
    """Official numbers of one set of predictions and of the constant answers.

    Attributes:
        benchmark: The benchmark. Its annotations have a type of their own, hence ``Any``.
        score: Official numbers of the predictions.
        constants: Official numbers of the constant answers over the same items, by name.
        protocol: Description of the protocol of the predictions. Published files do not state it.
        missing_videos: Number of missing videos, whose items are left out.
        predictions_digest: Digest of the records; empty for published files.
        baselines: Official numbers of the blind baselines over the same items, by name; none for
            published files.
        timing: PROSPECT's timing metrics of published files with times, by name; empty for runs,
            whose metrics are in ``metrics.json``.
        judge: Name of the LLM judge whose verdicts the values use; empty for none.
    """

    benchmark: Benchmark[Any, Any]
    score: OfficialScore
    constants: Mapping[str, OfficialScore]
    protocol: str
    missing_videos: int = 0
    predictions_digest: str = ""
    baselines: Mapping[str, OfficialScore] = field(default_factory=dict)
    judge: str = ""
    timing: Mapping[str, Any] = field(default_factory=dict)

    def best_baseline(self, value: str) -> tuple[str, float] | None:
        """Return name and value of the blind baseline with the highest value; None if there is none.

        Args:
            value: Name of the official value.
        """
        return _find_highest(self.baselines, value)

    def best_constant(self, value: str, exploits: bool = False) -> tuple[str, float] | None:
        """Return the constant answer with the highest value.

        Args:
            value: Name of the official value.
            exploits: Whether to search the answers that use a weakness of the published scorer
                instead of the plausible ones.

        Returns:
            Its name and value; None if the value is undefined for all of these constant answers.
        """
        chosen = {name: s for name, s in self.constants.items() if (name in self.benchmark.exploits) == exploits}
        return _find_highest(chosen, value)

    def plain(self) -> dict[str, Any]:
        """Return the contents of ``official.json``."""
        names = dict.fromkeys((*self.benchmark.headline, *self.score.values))
        intervals = find_official_intervals(self.benchmark, self.score, [n for n in names if n in self.score.values])
        values = {}
        for name, interval in intervals.items():
            best, exploit = self.best_constant(name), self.best_constant(name, exploits=True)
            blind = self.best_baseline(name)
            values[name] = {
                "value": interval.point,
                "ci95": interval.ci95,
                "videos": interval.videos,
                "headline": name in self.benchmark.headline,
                "percent": self.benchmark.find_value_range(name) == (0.0, 1.0),
                "best_constant": None if best is None else {"name": best[0], "value": best[1]},
                "best_exploit": None if exploit is None else {"name": exploit[0], "value": exploit[1]},
                "best_baseline": None if blind is None else {"name": blind[0], "value": blind[1]},
            }
        return {
            "schema": SCHEMA,
            "benchmark": self.benchmark.name,
            "title": self.benchmark.title,
            "source": self.benchmark.source,
            "protocol": self.protocol,
            "judge": self.judge,
            "predictions_digest": self.predictions_digest,
            "counts": {status: self.score.count(status) for status in ("scored", "missing", "failed")},
            "missing_videos": self.missing_videos,
            "values": values,
            "constants": {name: score.values for name, score in self.constants.items()},
            "baselines": {name: score.values for name, score in self.baselines.items()},
            "timing": dict(self.timing),
            "notes": list(self.score.notes),
            "items": [asdict(item) for item in self.score.items],
        }


def _find_highest(scores: Mapping[str, OfficialScore], value: str) -> tuple[str, float] | None:
    """Return name and value of the score with the highest value; None if none has it."""
    found = {name: score.values.get(value) for name, score in scores.items()}
    known = {name: number for name, number in found.items() if number is not None}
    return max(known.items(), key=lambda item: item[1], default=None)


def write_official_scores(folder: Path, scoring: OfficialScoring) -> dict[str, Any]:
    """Write ``official.json`` and the items of the constant answers; return the contents of ``official.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    official = scoring.plain()
    write_official_constants(folder, scoring.constants, scoring.predictions_digest)
    write_atomic(folder / FILE, dump_json(official, indent=1) + "\n")
    return official


def read_official_scores(folder: Path) -> dict[str, Any] | None:
    """Return the contents of a folder's ``official.json``; None if the file does not exist.

    Raises:
        DataError: The file has another schema.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    found = read_json(file)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise DataError(f"{file}: not official numbers that this version reads; score the run again")
    return found


def restore_official_score(stored: Mapping[str, Any], benchmark: Benchmark[Any, Any]) -> OfficialScore:
    """Return the official numbers in ``official.json``, with their items."""
    items = [ItemScore(**item) for item in stored["items"]]
    return make_official_score(items, benchmark.values_of_totals, stored["notes"])


def score_published_results(name: str, root: Path, paths: Sequence[Path], model: str | None = None) -> OfficialScoring:
    """Return the official numbers of published result files.

    Args:
        name: Name of the benchmark.
        root: Its annotation file, or the folder that contains it.
        paths: Result files, or folders with result files.
        model: The model to read from a file or folder of several models.

    Raises:
        DataError: Unreadable annotations or results.
    """
    opened = OpenedBenchmark(open_benchmark(name), root)
    benchmark, annotations = opened.benchmark, opened.annotations
    results = benchmark.read_results(paths, annotations, model)
    score = benchmark.score(annotations, results)
    constants = {
        constant: benchmark.score(annotations, make(annotations)) for constant, make in benchmark.constants.items()
    }
    times = [] if benchmark.list_times is None else benchmark.list_times(annotations, results)
    return OfficialScoring(benchmark, score, constants, PUBLISHED_PROTOCOL, timing=score_published_timing(times))
