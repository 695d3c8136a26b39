"""Format a comparison: summary of the tests, exploratory metrics by family, and a Markdown table.

prospect-eval compare runs/a runs/b --markdown compare.md
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prospect_core.util.console import format_count
from prospect_eval.analysis.compare import Comparison, Difference
from prospect_eval.text.markdown import format_markdown_value, markdown_text

HEAD = ("metric", "first", "second", "difference", "95 % interval", "p (Holm)", "verdict")
DETECTED = ("better", "worse", "differs")
#: verdicts that are shown in other words than they are stored
VERDICT_WORDS = {"not shown": "no difference shown", "too few": "too few videos"}


def format_compare_run_names(comparison: Comparison) -> tuple[str, str]:
    """Return the last parts of both runs' paths, or the whole paths if the last parts are equal."""
    first, second = Path(comparison.first).name, Path(comparison.second).name
    return (comparison.first, comparison.second) if first == second else (first, second)


def format_compare_cells(d: Difference) -> tuple[str, ...]:
    """Format a difference as table cells under `HEAD`."""
    ci = f"[{d.ci95[0]:+.3g}, {d.ci95[1]:+.3g}]" if d.ci95 else "–"
    p = "–" if d.p is None else f"{d.p:.3f}" if d.p >= 0.001 else "<0.001"
    return (
        d.name,
        format_markdown_value(d.first),
        format_markdown_value(d.second),
        f"{d.difference:+.3g}",
        ci,
        p,
        VERDICT_WORDS.get(d.verdict, d.verdict),
    )


def format_compare_summary(comparison: Comparison) -> list[str]:
    """Return lines on the tests, the left-out episodes and the limits of the verdicts."""
    tested = [d for d in comparison.differences if d.tested]
    lines = [
        f"Tested metrics: {', '.join(d.name for d in tested) or 'none'} (p values corrected by Holm's method over"
        f" {format_count(comparison.tests, 'test')};"
        f" {format_count(max((d.videos for d in comparison.differences), default=0), 'cluster')} of episodes)."
        " All other metrics are exploratory."
    ]
    if comparison.left_out:
        lines.append(f"{format_count(len(comparison.left_out), 'episode')} left out, because only one run has them.")
    if any(d.without_failed for d in comparison.differences):
        lines.append("Failed and missing episodes count as the worst value. Without them:")
        lines += [
            f"  {d.name}: {format_markdown_value(d.without_failed[0])} and {format_markdown_value(d.without_failed[1])}"
            for d in tested
            if d.without_failed
        ]
    detectable = [
        f"{d.name} {format_markdown_value(d.detectable)}" for d in tested if d.verdict == "not shown" and d.detectable
    ]
    if detectable:
        lines.append(
            "'No difference shown' does not mean equal. Smallest differences that these tests would find (80 % power):"
            f" {', '.join(detectable)}."
        )
    notes = {d.note for d in tested if d.verdict == "too few"}
    return [*lines, *(f"{note[0].upper()}{note[1:]}." for note in sorted(notes))]


def format_compare_families(differences: Sequence[Difference]) -> list[str]:
    """Return one line for each family of exploratory metrics.

    The line has the number of metrics and those whose interval excludes 0.
    """
    families: dict[str, list[Difference]] = {}
    for d in differences:
        if not d.tested:
            families.setdefault(d.family, []).append(d)
    lines = []
    for family, some in families.items():
        distinct = [d for d in some if d.ci95 and not d.ci95[0] <= 0 <= d.ci95[1]]
        largest = sorted(distinct, key=lambda d: -abs(d.difference) / max(abs(d.first), abs(d.second), 1e-12))[:2]
        told = ", ".join(f"{d.name} {d.difference:+.3g}" for d in largest)
        lines.append(
            f"{family}: {format_count(len(some), 'more metric')}, {len(distinct)} with an interval that excludes 0"
            + (f" (largest: {told})" if told else "")
        )
    return lines


def format_compare_markdown(comparison: Comparison) -> str:
    """Format a comparison as Markdown: tested metrics, exploratory metrics, most changed episodes."""
    first, second = format_compare_run_names(comparison)
    head = (HEAD[0], first, second, *HEAD[3:])
    lines = [
        f"### {markdown_text(second)} compared with {markdown_text(first)}",
        "",
        *map(markdown_text, format_compare_summary(comparison)),
        "",
    ]
    for title, tested in (("", True), ("Exploratory:", False)):
        rows = [d for d in comparison.differences if d.tested == tested]
        if rows:
            lines += [title, ""] if title else []
            lines += [f"| {' | '.join(map(markdown_text, head))} |", "|---" * len(head) + "|"]
            lines += [f"| {' | '.join(map(markdown_text, format_compare_cells(d)))} |" for d in rows]
            lines.append("")
    if comparison.episodes:
        lines += ["Episodes with the largest changes:", ""]
    for change in comparison.episodes:
        lines.append(f"* {markdown_text(change.episode)} ({change.score:.2f})")
        lines += [f"  * {markdown_text(reason)}" for reason in change.why]
    return "\n".join([*lines, ""])
