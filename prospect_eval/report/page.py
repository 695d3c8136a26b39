"""HTML pages in one file: template, style, scripts and data, without any request when opened.

Data of models and videos is embedded once as JSON that no text in it can close. The scripts put it
on the page as text, and the templates escape the values that they show. A content security policy
forbids every request.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from prospect_core.util.atomic import write_atomic

#: characters that could end a script element, start a comment or break a line in it
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def write_page(path: Path, template: str, scripts: Sequence[str], data: Any, **shown: Any) -> Path:
    """Render a template with scripts and the chart library into one file.

    Args:
        path: The file.
        template: Name of the template.
        scripts: Names of the scripts.
        data: Data for the scripts.
        shown: Variables of the template.

    Returns:
        The file.
    """
    from plotly.offline import get_plotlyjs

    page = load_page_templates().get_template(template).render(
        data=embed_page_json(data), scripts=[_source(name) for name in scripts], style=_source("report.css"),
        charts=Markup(get_plotlyjs().replace("</script", "<\\/script")), **shown,
    )  # fmt: skip
    # a lone surrogate cannot be encoded; it becomes a question mark
    write_atomic(path, page.encode("utf-8", "replace"))
    return path


def embed_page_json(data: Any) -> Markup:
    """Return data as JSON that is safe inside a script element."""
    return Markup(json.dumps(data, separators=(",", ":"), allow_nan=False).translate(_ESCAPES))


def encode_page_numbers(values: Sequence[float], kind: str) -> str:
    """Encode numbers as base64 of little-endian integers.

    Args:
        values: The numbers; shares in 0..1 for ``u2``.
        kind: ``u2`` for multiples of 1 / 65535, ``u4`` for counts.
    """
    array = np.asarray(values, dtype=float)
    whole = np.rint(array.clip(0, 1) * 65535) if kind == "u2" else array
    return base64.b64encode(whole.astype(f"<{kind}").tobytes()).decode()


def format_page_sentence(text: str) -> str:
    """Return a text with a capital first letter and a period at its end."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def format_page_number(value: float | None, unit: str = "") -> str:
    """Format a value for a page; a dash if it is undefined."""
    if value is None:
        return "–"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.2f} M"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def format_page_interval(ci: Sequence[float] | None) -> str:
    """Format an interval as ``[low, high]``; empty if there is none."""
    return f"[{format_page_number(ci[0])}, {format_page_number(ci[1])}]" if ci else ""


@cache
def load_page_templates() -> Any:
    """Return the environment of the templates, with autoescape."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader("prospect_eval.report", name) for name in ("templates", "static")]), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "number": format_page_number,
        "interval": format_page_interval,
        "sentence": format_page_sentence,
    }
    return environment


@cache
def _source(name: str) -> Markup:
    return Markup(files("prospect_eval.report").joinpath("static", name).read_text("utf-8"))
