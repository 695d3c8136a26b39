"""Format a gate's result as a Markdown table for pull requests and as JUnit XML for CI.

prospect-eval gate runs/now --baseline reports/baselines/workbench.json --markdown gate.md --junit gate.xml
"""

from __future__ import annotations

from xml.etree import ElementTree

from prospect_eval.gate.gate import Gate, GateCheck
from prospect_eval.text.markdown import format_markdown_value, markdown_code, markdown_text

MARKS = {"PASS": "✅", "INCONCLUSIVE": "❔", "FAIL": "❌"}


def format_gate_cells(check: GateCheck) -> tuple[str, ...]:
    """Format a check as table cells.

    Args:
        check: One line of a gate.

    Returns:
        Baseline, current value, difference with interval, margin, detectable loss, and reason.
    """
    ci = f" [{format_markdown_value(check.ci95[0])}, {format_markdown_value(check.ci95[1])}]" if check.ci95 else ""
    found = None if check.detectable is None or check.margin is None else check.margin + check.detectable
    difference = "–" if check.difference is None else f"{check.difference:+.4g}{ci}"
    shown = [format_markdown_value(v)[:16] for v in (check.baseline, check.now)]
    return (*shown, difference, format_markdown_value(check.margin), format_markdown_value(found), check.reason)


HEAD = ("metric", "baseline", "now", "difference [95 %]", "margin", "smallest loss this would catch (80 %)", "")


def format_gate_as_markdown(gate: Gate, run: str, baseline: str) -> str:
    """Format a gate as Markdown: the verdict as heading, and a table with the worst checks first.

    Args:
        gate: The result of the gate.
        run: Name of the run.
        baseline: Name of the baseline.
    """
    order = list(reversed(MARKS))
    rows = sorted(gate.checks, key=lambda check: order.index(check.verdict))
    strict = ", strict" if gate.strict else ""
    lines = [
        f"### {MARKS[gate.verdict]} {gate.verdict}: {markdown_code(run)} against {markdown_code(baseline)}{strict}",
        "",
        "| | " + " | ".join(HEAD) + " |",
        "|---" * (len(HEAD) + 1) + "|",
    ]
    for check in rows:
        lines.append(
            " | ".join(
                [f"| {MARKS[check.verdict]}", markdown_code(check.name), *map(markdown_text, format_gate_cells(check))]
            )
            + " |"
        )
    lines += [
        "",
        *(f"Note: {markdown_text(note)}  " for note in gate.notes),
        "A negative difference means worse, also for metrics of which lower is better. A true loss of the size in"
        " *smallest loss this would catch* makes the gate fail in 80 % of the cases.",
        "",
    ]
    return "\n".join(lines)


def format_gate_as_junit(gate: Gate, run: str) -> str:
    """Format a gate as JUnit XML with one test case for each check.

    An inconclusive check is a skipped test case, or a failure if the rules are strict.

    Args:
        gate: The result of the gate.
        run: Name of the run.
    """
    failing = ("FAIL", "INCONCLUSIVE") if gate.strict else ("FAIL",)
    failures = sum(check.verdict in failing for check in gate.checks)
    skipped = sum(check.verdict == "INCONCLUSIVE" for check in gate.checks) if not gate.strict else 0
    numbers = {"tests": str(len(gate.checks)), "failures": str(failures), "errors": "0", "skipped": str(skipped)}
    suite = ElementTree.Element("testsuite", {"name": f"prospect-eval gate {_xml(run)}", **numbers})
    for check in gate.checks:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "gate", "name": check.name})
        told = "; ".join(
            f"{head} {cell}" for head, cell in zip((*HEAD[1:-1], "why"), format_gate_cells(check), strict=True) if cell
        )
        if check.verdict in failing:
            ElementTree.SubElement(case, "failure", {"message": f"{check.verdict}: {_xml(told)}"})
        elif check.verdict == "INCONCLUSIVE":
            ElementTree.SubElement(case, "skipped", {"message": f"{check.verdict}: {_xml(told)}"})
    root = ElementTree.Element("testsuites", {"name": "prospect-eval gate", **numbers})
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Remove the characters that XML cannot represent."""
    return "".join(c for c in text if c >= " " and c not in "\ufffe\uffff" and not "\ud800" <= c <= "\udfff")
