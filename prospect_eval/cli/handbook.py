"""Generate the reference pages: metrics, command line, configuration, file formats, schemas.

    python -m prospect_eval.cli.handbook docs/reference

`make docs` writes them, and a test compares the committed pages with the code.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from prospect_eval.metrics import Metric, ScoringResources, all_metrics, delivery
from prospect_eval.metrics.base import describe_metric_range
from prospect_eval.metrics.families import DELIVERY, Family
from prospect_eval.report.page import format_page_sentence

#: a section of a Google-style docstring, and the beginning of a field in it
_SECTION = re.compile(r"(Attributes|Args):")
_FIELD = re.compile(r" {4}(\w+): (.*)")
#: (description, type that reads it) of each format
FORMATS: dict[str, tuple[str, str]] = {
    "dataset": ("`dataset.json` of a dataset", "prospect_core.data.dataset:DatasetInfo"),
    "episode": ("a row of a split's `.jsonl`", "prospect_core.timeline:Episode"),
    "record": ("`episodes/*.json` of a run folder, one per replayed episode", "prospect_core.records:EpisodeRecord"),
    "run": ("`config` in `run.json` of a run folder", "prospect_eval.runs.executor:RunConfig"),
    "suite": ("a suite's YAML file", "prospect_eval.suites.suite:Suite"),
    "shard": ("the list next to a shard of a feature store", "prospect_core.features.shard_store:Shard"),
}


def make_handbook_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each file format, from the dataclass that reads it."""
    from pydantic import TypeAdapter

    return {name: TypeAdapter(_type(place)).json_schema() for name, (_, place) in FORMATS.items()}


def make_handbook_formats_page() -> str:
    """Return the page of file formats with their fields and schemas."""
    lines = [
        "# File formats",
        "",
        "All files are UTF-8 JSON; suites are YAML with the same structure. The schemas are generated from the dataclasses",
        "that read the files, and tests validate real files with them.",
        "",
    ]
    for name, schema in make_handbook_schemas().items():
        what, place = FORMATS[name]
        lines += [f"## {name}", "", f"{what[0].upper()}{what[1:]}. [JSON Schema](schemas/{name}.json)", ""]
        lines += [_quoted(_type(place).__doc__ or ""), "", "| field | type | default |", "|---|---|---|"]
        for field, told in schema.get("properties", {}).items():
            needed = "required" if field in schema.get("required", ()) else f"`{told.get('default', '')!r}`"
            lines.append(f"| `{field}` | {_kind(told)} | {needed} |")
        lines.append("")
    return "\n".join(lines)


def make_handbook_metrics_page() -> str:
    """Return the page of all metrics by family, with each family's formulas."""
    resources = ScoringResources(lambda a, b: np.zeros((len(a), len(b))), "MODEL", lambda a, b: 0.0, "METEOR")
    families: dict[Family, list[Metric]] = {}
    for metric in all_metrics(resources, plug_ins=False):
        families.setdefault(metric.family, []).append(metric)
    # these are in timings.json, from the plain pass
    families[DELIVERY] += delivery.delivery_metrics(measured=True)
    lines = [
        "# Metric handbook",
        "",
        "Every metric with its definition; generated from the code. [Metrics](../metrics.md) explains values, intervals and",
        "undefined values. Headline metrics are bold; they come first in every table.",
        "",
    ]
    for family, metrics in families.items():
        lines += [f"## {family.title}", "", _quoted(family.description), ""]
        lines += ["| metric | range | better | unit | definition | how it can mislead |", "|---|---|---|---|---|---|"]
        lines += [_row(metric) for metric in metrics]
        lines.append("")
    return "\n".join(lines)


def make_handbook_cli_page() -> str:
    """Return the page of all commands with their help texts."""
    from prospect_core.cli.commands import prospect
    from prospect_eval.cli.commands import prospect_eval

    lines = ["# Command line", ""]
    for name, command in (("prospect", prospect), ("prospect-eval", prospect_eval)):
        for path, found in _commands(name, command):
            lines += [f"## {path}", "", "```text", _help(path, found), "```", ""]
    return "\n".join(lines)


_KEY_TABLE = ("| key | values | default | meaning |", "|---|---|---|---|")


def make_handbook_configuration_page() -> str:
    """Return the page of all keys of `prospect train` with values, default and meaning."""
    from prospect_core.train.config.describe import describe_config_keys

    lines = [
        "# Training configuration",
        "",
        "Every key of `prospect train`, given as KEY=VALUE; generated from the code. Presets (`model=`, `sampling=`,",
        "`loss=`, `optimiser=`, `run=`) change several keys. `prospect train --cfg` prints the resulting configuration.",
        "",
    ]
    alone = False
    for found in describe_config_keys():
        top, _, below = found.key.partition(".")
        if not below and not found.default:
            lines += ["", f"## {top}", "", _quoted(found.meaning), "", *_KEY_TABLE]
            continue
        if not below and not alone:
            lines += ["", "## Start and output", "", *_KEY_TABLE]
        alone = not below
        default = f"`{found.default}`" if found.default else ""
        lines.append(f"| `{found.key}` | {found.values} | {default} | {_quoted(found.meaning)} |")
    return "\n".join(lines)


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            yield from _commands(f"{path} {name}", child)


def _help(path: str, command: click.Command) -> str:
    # the same settings as the program's own command group
    context = click.Context(
        command, info_name=path, help_option_names=["-h", "--help"], max_content_width=110, terminal_width=110
    )
    return command.get_help(context)


def _type(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _quoted(text: str) -> str:
    """Return a docstring as Markdown: sections become lists, and double backticks single ones."""
    lines: list[str] = []
    is_section = False
    for line in inspect.cleandoc(text).splitlines():
        field = _FIELD.match(line) if is_section else None
        if _SECTION.fullmatch(line):
            is_section = True
            lines += [f"{line}", ""]
        elif field:
            lines.append(f"- `{field[1]}`: {field[2]}")
        else:
            is_section = is_section and (not line or line.startswith(" "))
            lines.append(line.strip())
    return "\n".join(lines).replace("``", "`").replace("<", "&lt;")


def _row(metric: Metric) -> str:
    cells = [
        f"**`{metric.name}`**" if metric.headline else f"`{metric.name}`",
        describe_metric_range(metric.range),
        metric.better or "–",
        metric.unit or "–",
        format_page_sentence(metric.definition) or "–",
        format_page_sentence(metric.failure_mode) or "–",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _kind(told: dict[str, Any]) -> str:
    if "$ref" in told:
        return str(told["$ref"]).rpartition("/")[2]
    if "anyOf" in told:
        return " or ".join(_kind(part) for part in told["anyOf"])
    if told.get("type") == "array":
        items = told.get("items", {})
        return f"list of {_kind(items)}" if items else "list"
    if "enum" in told or "const" in told:
        return " or ".join(f"`{value}`" for value in told.get("enum", [told.get("const")]))
    return str(told.get("type", "any"))


def make_handbook_pages() -> dict[str, str]:
    """Return every page and schema by its name below ``docs/reference``."""
    out = {
        "cli.md": make_handbook_cli_page(),
        "metrics.md": make_handbook_metrics_page(),
        "formats.md": make_handbook_formats_page(),
    }
    out["configuration.md"] = make_handbook_configuration_page()
    out |= {
        f"schemas/{name}.json": json.dumps(schema, indent=1) + "\n" for name, schema in make_handbook_schemas().items()
    }
    return {name: page.rstrip() + "\n" for name, page in out.items()}


if __name__ == "__main__":
    for name, page in make_handbook_pages().items():
        file = Path(sys.argv[1]) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
