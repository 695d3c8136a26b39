"""Escape texts of models and data for Markdown."""

from __future__ import annotations

from typing import Any

_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]|~#"})


def markdown_text(value: str) -> str:
    """Return a text on one line with all Markdown and HTML characters escaped."""
    escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").translate(_MARKS)
    return " ".join(escaped.split())


def markdown_code(value: str) -> str:
    """Return a text as inline code on one line. Backticks become apostrophes."""
    return "`" + " ".join(value.replace("`", "'").replace("|", "\\|").split()) + "`"


def format_markdown_value(value: Any) -> str:
    """Format a value for a table cell.

    Args:
        value: A float, any other value, or None.

    Returns:
        Four significant digits for a float, a dash for None, ``str(value)`` for anything else.
    """
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
