"""Evaluation suites: YAML files that name the data, strategies, budgets, metrics and gate rules.

    prospect-eval run --ckpt workbench-tiny --suite workbench
    prospect-eval run --ckpt workbench-tiny --suite mine/kitchen.yaml

The built-in suites are in this folder. A benchmark of an installed package names the file of its suite. Any other suite is
given by its path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt

from prospect_core.data.dataset import Dataset
from prospect_core.records import ReplayProtocol
from prospect_core.util.errors import UserError, did_you_mean, require_choice
from prospect_eval.suites.gate_rules import MIN_VIDEOS, Rules, make_gate_rules

PREFIX = "suite:"
#: data of the package, which are made on first use
BUILT_IN_DATA = "workbench"
FOLDER = Path(__file__).parent
#: suites of the package's own data, and suites of published benchmarks (one folder each)
SUITES = tuple(
    sorted(
        [*(file.stem for file in FOLDER.glob("*.yaml")), *(file.parent.name for file in FOLDER.glob("*/suite.yaml"))]
    )
)


@dataclass(frozen=True)
class Suite:
    """Contents of a suite file.

    Attributes:
        about: One sentence about the purpose.
        data: ``workbench`` (made on first use), a dataset folder relative to the file, or None if
            ``--data`` must give it.
        split: The split to replay.
        profile: The published protocol whose matching windows the matched-dialogue metrics use.
        strategies: Context strategies.
        budgets: Token budgets. Values up to 1.0 are fractions of the peak need of ``none``.
        metrics: Metrics that tables show first.
        baselines: Baselines of procedures that tables show in addition to the usual ones
            (`prospect_eval.models.baselines.procedure_baselines`).
        gate: Rules in the form of `prospect_eval.suites.gate_rules`.
        benchmark: The published benchmark whose files ``--data`` names; empty for PROSPECT
            datasets.
        fps: Decision frames per second of a published benchmark.
        protocols: Protocols by name; the first one is the default.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    about: str = ""
    data: str | None = None
    split: str = "test"
    profile: Literal["proassist"] = "proassist"
    strategies: tuple[str, ...] = ("none",)
    budgets: tuple[Annotated[float, Gt(0)], ...] = ()
    metrics: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    gate: dict[str, Any] = field(default_factory=dict)
    benchmark: str = ""
    fps: Annotated[float, Gt(0)] = 1.0
    protocols: dict[str, ReplayProtocol] = field(default_factory=dict)

    def protocol(self, asked: str | None) -> ReplayProtocol | None:
        """Return a protocol.

        Args:
            asked: Name of a protocol of the suite, or switches such as
                ``history=gold,polling=recut``; None for the suite's first protocol.

        Returns:
            The protocol; None if nothing is asked for and the suite has no protocol.

        Raises:
            UserError: Neither a protocol of the suite nor valid switches of `ReplayProtocol`.
        """
        if asked is None:
            return next(iter(self.protocols.values()), None)
        return self.protocols[asked] if asked in self.protocols else read_protocol_switches(asked, self.protocols)

    def rules(self) -> Rules | None:
        """Return the gate rules; None if the suite has none."""
        return make_gate_rules(self.gate, "the suite's gate") if self.gate else None


def read_protocol_switches(text: str, known: Iterable[str] = ()) -> ReplayProtocol:
    """Read a protocol from switches.

    Args:
        text: Switches separated by commas, as in ``initiative=polled,history=gold``.
        known: Names of protocols, for the message.

    Raises:
        UserError: Unknown switch or value; the message lists the switches.
    """
    from pydantic import TypeAdapter, ValidationError

    switches: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        switches[name] = value.split("+") if name == "reveals" else value
    try:
        return TypeAdapter(ReplayProtocol).validate_python(switches)
    except ValidationError as error:
        names = f"one of {', '.join(known)}, or " if known else ""
        allowed = ", ".join(field.name for field in fields(ReplayProtocol) if field.name != "timing")
        raise UserError(
            f"--protocol {text}: {error.errors(include_url=False)[0]['msg']}; give {names}SWITCH=VALUE,... with switches"
            f" {allowed}"
        ) from error


def list_suites() -> list[str]:
    """Names of the built-in suites and of the benchmarks of installed packages; no package is imported."""
    from prospect_eval.suites.benchmark import list_installed_benchmarks

    return [*SUITES, *list_installed_benchmarks()]


def suite_file(name: str) -> Path:
    """Return the file of a suite.

    Args:
        name: Name of a built-in suite, or path of a YAML file.

    Raises:
        UserError: Unknown suite or missing file.
    """
    if name in SUITES:
        own = FOLDER / f"{name}.yaml"
        return own if own.is_file() else FOLDER / name / "suite.yaml"
    file = Path(name)
    if file.suffix in (".yaml", ".yml"):
        if not file.is_file():
            raise UserError(f"--suite {name}: no such file")
        return file
    known = list_suites()
    if name in known or is_benchmark_suite(name):
        return _installed_suite_file(name)
    raise UserError(
        f"suite {name!r} is unknown: use one of {', '.join(known)}, or a YAML file{did_you_mean(name, known)}"
    )


def _installed_suite_file(name: str) -> Path:
    from prospect_eval.suites.benchmark import open_benchmark

    file = open_benchmark(name).suite_file
    if file is None:
        raise UserError(
            f"--suite {name}: only published predictions are scored; use `prospect-eval score FILES --suite {name}`"
        )
    return file


def is_benchmark_suite(name: str) -> bool:
    """Return whether the name is that of a published benchmark."""
    from prospect_eval.suites.benchmark import list_benchmarks

    return name in list_benchmarks()


def open_suite(name: str) -> Suite:
    """Open a suite.

    Args:
        name: Name of a built-in suite, or path of a YAML file.

    Raises:
        UserError: Unknown suite, missing file, wrong key or value, or rules with margins for a
            split with fewer than `MIN_VIDEOS` videos.
    """
    from pydantic import TypeAdapter, ValidationError

    from prospect_eval.suites.yaml_files import read_yaml

    file = suite_file(name)
    try:
        plain = read_yaml(file.read_text("utf-8"), str(file))
        suite = TypeAdapter(Suite).validate_python(plain)
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{file}: {place}: {first['msg'][0].lower()}{first['msg'][1:]}") from error
    _require_decidable(file, suite)
    return suite


def _require_decidable(file: Path, suite: Suite) -> None:
    """Refuse rules with margins for a split with fewer videos than the gate needs for a verdict."""
    rules = suite.rules()
    videos = _videos(file, suite)
    if rules is not None and rules.metrics and videos is not None and videos < MIN_VIDEOS:
        raise UserError(
            f"{file}: gate: split {suite.split!r} has {videos} videos, rules with margins need at least {MIN_VIDEOS}; add"
            " videos, or keep `exact` rules only"
        )


def _videos(file: Path, suite: Suite) -> int | None:
    """Return the number of videos of the suite's split.

    The number is None if the data are given later, or if they do not have the split.
    """
    if suite.data is None:
        return None
    if suite.data == BUILT_IN_DATA:
        from prospect_core.workbench.world.levels import SPLITS

        return SPLITS[suite.split].videos if suite.split in SPLITS else None
    folder = file.parent / suite.data
    if not (folder / "dataset.json").is_file():
        return None
    dataset = Dataset.open(folder)
    return len({clip.video for clip in dataset.rows(suite.split).clips()}) if suite.split in dataset.splits else None


def suite_first_metrics(name: str) -> tuple[str, ...]:
    """Return the metrics that a suite shows first.

    Returns:
        Names of metrics; empty without a suite, and if the suite's file no longer exists.
    """
    suite = _find_stored_suite(name)
    return suite.metrics if suite else ()


def suite_additional_baselines(name: str) -> tuple[str, ...]:
    """Return the baselines that a suite shows in addition to the usual ones.

    Returns:
        Names of baselines; empty without a suite, and if the suite's file no longer exists.
    """
    suite = _find_stored_suite(name)
    return suite.baselines if suite else ()


def _find_stored_suite(name: str) -> Suite | None:
    """Open the suite that a run names; None without a suite, and if its file no longer exists."""
    if not name or (name not in list_suites() and not Path(name).is_file()):
        return None
    return open_suite(name)


def open_suite_data(
    source: str, split: str, progress: Callable[[int, int], None] = lambda done, total: None
) -> Dataset:
    """Open data by the source string of a run, which means the same data on every machine.

    Args:
        source: ``suite:NAME`` or a dataset folder.
        split: The split that is needed. Built-in data are made on first use.
        progress: Called with (videos made, videos).

    Raises:
        UserError: Unknown suite or split, or a suite without data.
        DataError: The folder is not a dataset.
    """
    if not source.startswith(PREFIX):
        return Dataset.open(Path(source))
    name = source.removeprefix(PREFIX)
    data = open_suite(name).data
    if data is None:
        raise UserError(f"suite {name} has no data of its own; give --data FOLDER too")
    if data != BUILT_IN_DATA:
        return Dataset.open(suite_file(name).parent / data)
    from prospect_core.workbench.generate import SPLITS, generate_cached_workbench

    require_choice("split", split, SPLITS)
    return generate_cached_workbench(split, progress=progress)


def open_suite_source(
    data: Path | None,
    suite: str | None,
    split: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
    protocol: str | None = None,
) -> tuple[str, Dataset]:
    """Open the data of a run, either a dataset folder or the data of a suite.

    Args:
        data: A dataset folder, or the folder of a published benchmark's files.
        suite: A suite by name or path.
        split: The split that is needed. Built-in data are made on first use.
        progress: Called with (videos made, videos).
        protocol: The protocol of a published benchmark; None for the suite's first one.

    Returns:
        The source as the run configuration stores it, and the dataset.

    Raises:
        UserError: Both ``data`` and the suite give data, or neither does.
    """
    from prospect_core.util.console import quiet_transformers

    quiet_transformers()
    opened = open_suite(suite) if suite else Suite()
    own = opened.data
    if data is not None and opened.benchmark:
        from prospect_eval.suites.benchmark_dataset import open_benchmark_dataset

        # the clock changes the replay, not the episodes
        rules = replace(opened.protocol(protocol) or ReplayProtocol(), clock="replay", timing=None)
        made = open_benchmark_dataset(opened.benchmark, data, rules, opened.fps)
        return str(made.root), made
    if (data is None) == (own is None):
        if suite and data is None:
            raise UserError(f"--suite {suite} has no data of its own; give --data FOLDER too")
        raise UserError("give either --data FOLDER or --suite NAME")
    if data is not None:
        return str(data.resolve()), open_suite_data(str(data), split)
    source = f"{PREFIX}{suite}"
    return source, open_suite_data(source, split, progress)
