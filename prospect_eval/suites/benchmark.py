"""A published benchmark: its files, its official numbers, its constant answers and the faults of its annotations.

Each built-in benchmark is a folder of this package with a module ``benchmark`` that holds one object, ``BENCHMARK``. An installed
package adds a benchmark with an entry point in the group ``prospect.benchmarks``: the name, and the place of its `Benchmark`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

import prospect_eval.suites
from prospect_core.records import EpisodeRecord, ReplayProtocol
from prospect_core.timeline import Episode
from prospect_core.util.entry_points import list_entry_points, load_entry_point
from prospect_core.util.errors import DataError, UserError, require_choice
from prospect_eval.suites.official_score import OfficialScore, OfficialValues, ValuesOfTotals

#: entry point group of the benchmarks of installed packages
GROUP = "prospect.benchmarks"
#: the annotations of a benchmark, as its reader returns them
AnnotationsT = TypeVar("AnnotationsT")
#: one set of predictions of a benchmark, in the form of the benchmark
ResultsT = TypeVar("ResultsT")
_AnnotationsIn = TypeVar("_AnnotationsIn", contravariant=True)
_ResultsOut = TypeVar("_ResultsOut", covariant=True)

#: `ValuesOfTotals` over many pooled totals: arrays of one shape in, arrays of that shape out, NaN where undefined
ArrayValues = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class AnnotationProblem:
    """A fault of a published annotation.

    Attributes:
        id: The item's id.
        kind: Kind of the fault: a short fixed text, the same for all items with this fault.
        text: The fault of this item, in one sentence.
    """

    id: str
    kind: str
    text: str


@dataclass(frozen=True)
class ItemTimes:
    """Times of one predicted item, in seconds of its video.

    Attributes:
        id: The item's id.
        video: The video that the item is about: the unit of resampling.
        reference: Times at which a response is due.
        predicted: Times of the responses.
    """

    id: str
    video: str
    reference: tuple[float, ...]
    predicted: tuple[float, ...]


@dataclass(frozen=True)
class ReadCounts:
    """Numbers of entries in the files of a benchmark.

    Attributes:
        read: Number of entries read, by kind of entry.
        refused: Number of entries left out, by reason.
    """

    read: Mapping[str, int]
    refused: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of(read: Iterable[str], refused: Iterable[str] = ()) -> ReadCounts:
        """Count entries.

        Args:
            read: The kind of each entry that was read.
            refused: The reason for each entry that was left out.
        """
        return ReadCounts(dict(Counter(read)), dict(Counter(refused)))

    def describe_refused(self) -> list[str]:
        """Return one line for each reason, with the number of entries."""
        return [f"{reason}: {number}" for reason, number in self.refused.items()]


class ReadResults(Protocol[_AnnotationsIn, _ResultsOut]):
    """Reads a benchmark's own result files."""

    def __call__(self, paths: Sequence[Path], annotations: _AnnotationsIn, model: str | None = None) -> _ResultsOut:
        """Return the predictions of one model.

        Args:
            paths: Result files, or folders with result files.
            annotations: The annotations of the predicted items.
            model: The model to read from a file of several models; None for a file of one model.

        Raises:
            DataError: A file of another kind, or a model that no file contains.
        """


@dataclass(frozen=True)
class BenchmarkEpisodes:
    """Episodes made from a benchmark's annotations.

    Attributes:
        episodes: The episodes, with the paths of their videos as in the annotations.
        refused: The reason for each item without an episode, by item id.
    """

    episodes: tuple[Episode, ...]
    refused: Mapping[str, str] = field(default_factory=dict)


class MakeEpisodes(Protocol[_AnnotationsIn]):
    """Makes the episodes of a benchmark under a protocol."""

    def __call__(
        self, annotations: _AnnotationsIn, protocol: ReplayProtocol, videos: VideoLengths
    ) -> BenchmarkEpisodes:
        """Return the episodes.

        Args:
            annotations: The benchmark's annotations.
            protocol: Decides between polls and standing questions, and sets the times of the
                questions and the ends of the episodes.
            videos: Lengths of the videos, for episodes that last as long as their video.
        """


class VideoLengths(Protocol):
    """The frame rate of the episodes and the lengths of the videos of a benchmark."""

    @property
    def fps(self) -> float:
        """Decision frames per second."""

    def frames(self, video: str) -> int | None:
        """Return the number of frames of a video at ``fps``; None for a missing or unreadable file."""


#: gives the reply of an LLM judge to a prompt; see `prospect_eval.suites.cached_judge.CachedJudge`
AskJudge = Callable[[str], str]


class CollectVerdicts(Protocol[_AnnotationsIn]):
    """Asks an LLM judge for the verdicts that the official values of a run need."""

    def __call__(
        self, annotations: _AnnotationsIn, records: Sequence[EpisodeRecord], ask: AskJudge, name: str
    ) -> dict[str, Any]:
        """Return the verdicts by id, as JSON values.

        Args:
            annotations: The benchmark's annotations.
            records: The records of the run.
            ask: Gives the LLM judge's reply to a prompt.
            name: Name of the LLM judge with everything that changes its replies.
        """


@dataclass(frozen=True)
class RecordJudge(Generic[AnnotationsT]):
    """Official values of a run that need an LLM judge.

    Attributes:
        collect: Asks for the verdicts.
        score: Returns the official numbers of records with the verdicts by id.
    """

    collect: CollectVerdicts[AnnotationsT]
    score: Callable[[AnnotationsT, Sequence[EpisodeRecord], Mapping[str, Any]], OfficialScore]


@dataclass(frozen=True)
class BenchmarkReplay(Generic[AnnotationsT]):
    """Functions that run models on a benchmark.

    Attributes:
        make_episodes: Makes the episodes from the annotations.
        score_records: Returns the official numbers of a run's records over the items that they
            cover, which may be a part of the benchmark.
        constants: Returns the official numbers of each constant answer over the same items.
        video_folders: Folders, relative to the benchmark's folder, that can contain a video.
        judge: For official values that need an LLM judge; None if no value does.
    """

    make_episodes: MakeEpisodes[AnnotationsT]
    score_records: Callable[[AnnotationsT, Sequence[EpisodeRecord]], OfficialScore]
    constants: Callable[[AnnotationsT, Sequence[EpisodeRecord]], dict[str, OfficialScore]]
    video_folders: tuple[str, ...] = ("",)
    judge: RecordJudge[AnnotationsT] | None = None


@dataclass(frozen=True)
class Benchmark(Generic[AnnotationsT, ResultsT]):
    """A published benchmark.

    Attributes:
        name: Name of its folder, by which `open_benchmark` finds it.
        title: Its published name.
        source: Address and commit of the code and the data that the official numbers follow.
        licence: Licence of the annotations.
        headline: Names of the official values that tables show first.
        read_annotations: Reads the published annotation file or folder.
        read_results: Reads published result files.
        score: Returns the official numbers of one set of predictions.
        values_of_totals: Returns the official values of pooled totals.
        find_problems: Returns the faults of the annotations.
        constants: For each constant answer, by name, a function that makes its results.
        exploits: Names of the constants that are no plausible answer and only use a weakness of the
            published scorer, such as an answer that lists every option. They are reported
            separately from the best constant answer.
        array_values: `values_of_totals` over arrays, which makes intervals fast; None if there is
            none.
        value_range: Lowest and highest possible official value.
        value_ranges: Ranges of the values with another range than ``value_range``, by name.
        list_times: Returns the times of the predicted items, for PROSPECT's timing metrics next to
            the official values; None if result files hold no times.
        replay: Functions that run models on it; None if only published predictions are scored.
        suite_file: YAML file of the suite of an installed package; None if only published
            predictions are scored, and for built-in benchmarks, which have ``suite.yaml`` in their
            folder.
    """

    name: str
    title: str
    source: str
    licence: str
    headline: tuple[str, ...]
    read_annotations: Callable[[Path], AnnotationsT]
    read_results: ReadResults[AnnotationsT, ResultsT]
    score: Callable[[AnnotationsT, ResultsT], OfficialScore]
    values_of_totals: ValuesOfTotals
    find_problems: Callable[[AnnotationsT], list[AnnotationProblem]]
    constants: Mapping[str, Callable[[AnnotationsT], ResultsT]] = field(default_factory=dict)
    exploits: frozenset[str] = frozenset()
    array_values: ArrayValues | None = None
    value_range: tuple[float, float] = (0.0, 1.0)
    value_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    list_times: Callable[[AnnotationsT, ResultsT], list[ItemTimes]] | None = None
    replay: BenchmarkReplay[AnnotationsT] | None = None
    suite_file: Path | None = None

    def find_value_range(self, value: str) -> tuple[float, float]:
        """Return the lowest and highest possible value of this name."""
        return self.value_ranges.get(value, self.value_range)


def make_values_of_totals(array_values: ArrayValues) -> ValuesOfTotals:
    """Return the scalar form of a function over arrays; NaN becomes None."""

    def values_of_totals(totals: Mapping[str, float]) -> OfficialValues:
        arrays = {name: np.asarray(value, dtype=float) for name, value in totals.items()}
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {name: float(value) for name, value in array_values(arrays).items()}
        return {name: None if np.isnan(value) else value for name, value in found.items()}

    return values_of_totals


def list_benchmarks() -> list[str]:
    """Return the names of the built-in and installed benchmarks without importing them."""
    return sorted([*_list_built_in_benchmarks(), *list_installed_benchmarks()])


def list_installed_benchmarks() -> list[str]:
    """Return the names of the benchmarks of installed packages without importing them.

    Raises:
        UserError: A name is that of another benchmark.
    """
    names: list[str] = []
    for point in list_entry_points(GROUP):
        if point.name in names or point.name in _list_built_in_benchmarks():
            raise UserError(f"benchmark {point.value}: the name {point.name!r} is taken; give it another one")
        names.append(point.name)
    return sorted(names)


@cache
def _list_built_in_benchmarks() -> tuple[str, ...]:
    found = pkgutil.iter_modules(prospect_eval.suites.__path__)
    return tuple(module.name for module in found if module.ispkg and _holds_benchmark(module.name))


def _holds_benchmark(package: str) -> bool:
    paths = [str(Path(folder) / package) for folder in prospect_eval.suites.__path__]
    return any(module.name == "benchmark" for module in pkgutil.iter_modules(paths))


def open_benchmark(name: str) -> Benchmark[Any, Any]:
    """Return the benchmark of this name.

    Its annotations and results have types of their own, hence ``Any``.

    Raises:
        UserError: Unknown name; the message suggests the nearest one.
    """
    require_choice("benchmark", name, list_benchmarks())
    if name in _list_built_in_benchmarks():
        return _open_built_in_benchmark(name)
    point = next(point for point in list_entry_points(GROUP) if point.name == name)
    benchmark = load_entry_point(point)
    if not isinstance(benchmark, Benchmark):
        raise DataError(f"{GROUP} {name!r} ({point.value}): not a Benchmark of prospect_eval.suites.benchmark")
    if benchmark.name != name:
        raise DataError(
            f"{GROUP} {name!r} ({point.value}): the benchmark is named {benchmark.name!r}; use one name for both"
        )
    return benchmark


def _open_built_in_benchmark(name: str) -> Benchmark[Any, Any]:
    module = importlib.import_module(f"{prospect_eval.suites.__name__}.{name}.benchmark")
    benchmark = getattr(module, "BENCHMARK", None)
    if not isinstance(benchmark, Benchmark):
        raise DataError(f"{module.__name__}: holds no BENCHMARK; please report this defect")
    return benchmark
