"""Texts of models and data in Markdown: they show as text, whatever they hold.

python -c "from prospect_eval.text.markdown import markdown_text; print(markdown_text('a|b <script>'))"
"""

from __future__ import annotations

from typing import Any

_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]|~#"})


def markdown_text(value: str) -> str:
    """On one line, without any mark-up: also no line break or cell's end."""
    escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").translate(_MARKS)
    return " ".join(escaped.split())


def markdown_code(value: str) -> str:
    """As code; backticks become quotes."""
    return "`" + " ".join(value.replace("`", "'").replace("|", "\\|").split()) + "`"


def format_markdown_value(value: Any) -> str:
    """Four digits of a float; texts and integers as they are; a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
