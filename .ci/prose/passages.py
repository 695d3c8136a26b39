"""Extraction of prose from source files: paragraphs, docstrings, comments, messages and visible text of pages.

A passage keeps the length and the line breaks of its source, so that an offset in it gives the line of a finding. Code,
addresses and markup become blanks or placeholders.
"""

from __future__ import annotations

import ast
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: stands for code and for values in a message
PLACEHOLDER = "X"
MINIMUM_WORDS_OF_MESSAGE = 3


@dataclass(frozen=True)
class Passage:
    """Some prose and where it begins.

    Attributes:
        kind: ``paragraph``, ``cell``, ``heading``, ``docstring``, ``comment``, ``message`` or ``page``.
        text: The prose, with the line breaks of its source.
        line: Line of its first character, from 1.
    """

    kind: str
    text: str
    line: int

    def line_at(self, offset: int) -> int:
        """The line in the file of the character at this offset."""
        return self.line + self.text.count("\n", 0, offset)


def passages_of(path: Path) -> list[Passage]:
    """Every passage of a file, in no particular order; none for an unknown kind of file."""
    reader = READERS.get(path.suffix) or READERS.get(path.name)
    if path.name.endswith(".py.txt"):
        reader = _template_passages
    return list(reader(path.read_text("utf-8"))) if reader else []


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def _placeholder(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", PLACEHOLDER, found[0])


# Markdown

FENCE = re.compile(r"^([ \t]*)(```+|~~~+)[^\n]*\n.*?(?:^[ \t]*\2[ \t]*$|\Z)", re.M | re.S)
INLINE_CODE = re.compile(r"(`+)(?!`)[^`\n]*(?:\n[^`\n]+)?\1")
HTML_COMMENT = re.compile(r"<!--.*?-->", re.S)
LINK_TARGET = re.compile(r"(?<=\])\([^)\s]*(?:\s+\"[^\"]*\")?\)|(?<=\])\[[^\]]*\]|^\s*\[[^\]]+\]:\s.*$", re.M)
ADDRESS = re.compile(r"<?\bhttps?://[^\s>)\"']+>?")
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
EMPHASIS = re.compile(r"\*+|(?<![\w])_+|_+(?![\w])")
#: options, paths, assignments and names with underscores
CODE_WORD = re.compile(r"(?<!\S)[(\[\"']?(?:--?[a-zA-Z][\w-]*|[\w.~-]*[/_=][^\s,;)]*)")
LIST_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")


def _without_markup(text: str) -> str:
    text = HTML_COMMENT.sub(_blank, text)
    text = INLINE_CODE.sub(_placeholder, text)
    text = LINK_TARGET.sub(_blank, text)
    text = ADDRESS.sub(_placeholder, text)
    return CODE_WORD.sub(_placeholder, TAG.sub(_blank, text))


def _markdown_passages(text: str, first_line: int = 1) -> Iterator[Passage]:
    text = _without_markup(FENCE.sub(_blank, text))
    block: list[str] = []
    begin = first_line

    def finished() -> Iterator[Passage]:
        if any(line.strip() for line in block):
            yield Passage("paragraph", EMPHASIS.sub(_blank, "\n".join(block)), begin)
        block.clear()

    for number, line in enumerate(text.split("\n"), first_line):
        line = re.sub(r"^[\s>]*>", _blank, line)
        kind = _kind_of_line(line)
        if kind or not line.strip() or LIST_ITEM.match(line):
            yield from finished()
        if kind == "cell":
            for cell in line.strip().strip("|").split("|"):
                yield Passage("cell", EMPHASIS.sub(_blank, cell), number)
        elif kind == "heading":
            yield Passage("heading", EMPHASIS.sub(_blank, line.strip(" #!?")), number)
        elif not kind:
            if not block:
                begin = number
            block.append(LIST_ITEM.sub(_blank, line))
    yield from finished()


def _kind_of_line(line: str) -> str:
    """The kind of a line that is a passage by itself; empty for a line of a paragraph."""
    if line.lstrip().startswith("|"):
        return "cell"
    if re.match(r"\s*(#+\s|!!!|\?\?\?)", line):
        return "heading"
    return ""


def _notebook_passages(text: str) -> Iterator[Passage]:
    """Markdown cells; each line of a cell lies on a line of its own in the file."""
    lines = text.split("\n")
    begin = 0
    for cell in json.loads(text)["cells"]:
        source = cell["source"]
        if cell["cell_type"] != "markdown" or not source:
            continue
        begin = next((n for n in range(begin, len(lines)) if json.dumps(source[0])[1:-1] in lines[n]), begin)
        yield from _markdown_passages("".join(source), begin + 1)


# Python

SECTION = re.compile(r"^\s*(Args|Arguments|Attributes|Examples?|Notes?|Raises|Returns|Yields|Warns|See Also):\s*$")
FIELD = re.compile(r"^\s+[*\w.]+(?: \([^)]*\))?: ")
#: a line of columns, as in a list of files with what each holds
COLUMNS = re.compile(r"^\s*\S.* {2,}\S")
DIRECTIVE = re.compile(r"#:?\s*(noqa|type:|fmt:|pragma|mypy:|ruff:|!|%%|-\*-)")
BRACES = re.compile(r"\{[^{}\n]*\}")
FORMAT_FIELD = re.compile(r"%[-+ #0]*[\d.]*[sdrfgxi](?![a-z])")
BETWEEN_PIECES = re.compile(r"(['\"])[ \t]*(?:#[^\n]*)?\\?\n\s*[rbfuRBFU]*(['\"])")
ESCAPE = re.compile(r"\\[ntr\"'\\]")
STRING_EDGE = re.compile(r"^[rbfuRBFU]*(\"\"\"|'''|\"|')|(\"\"\"|'''|\"|')$")


class _Lines:
    """Source text by line and column, as ``ast`` counts them: columns in bytes."""

    def __init__(self, text: str) -> None:
        self.raw = text.encode("utf-8")
        self.begins = [0]
        for found in re.finditer(b"\n", self.raw):
            self.begins.append(found.end())

    def span(self, node: ast.expr) -> tuple[int, int]:
        """First and last offset of a node, in bytes."""
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self.begins[node.lineno - 1] + node.col_offset, self.begins[end_line - 1] + end_column

    def line_at(self, offset: int) -> int:
        return bisect_right(self.begins, offset)


def _python_passages(text: str, messages: bool = True) -> Iterator[Passage]:
    lines = _Lines(text)
    strings: list[tuple[int, int]] = []
    for string in _strings(ast.parse(text)):
        node = string.node
        if string.line:
            if messages and isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from _message(_without_escapes(node.value), string.line)
            continue
        begin, end = lines.span(node)
        strings.append((begin, end))
        source = lines.raw[begin:end].decode("utf-8")
        if string.is_docstring:
            yield from _docstring_passages(source, node.lineno)
        elif messages and " " in source:
            yield from _message(_unquoted(source), node.lineno)
    yield from _comments(lines, sorted(strings))


@dataclass(frozen=True)
class _String:
    """A string in the syntax tree.

    Attributes:
        node: The constant or f-string.
        is_docstring: Whether it is a statement by itself, as for a module, class, function or attribute.
        line: Line of the f-string whose value holds this one, where Python 3.11 gives no position; else 0.
    """

    node: ast.Constant | ast.JoinedStr
    is_docstring: bool
    line: int


def _strings(tree: ast.AST) -> Iterator[_String]:
    """Every string and f-string. `ast.walk` takes three times as long."""
    waiting: list[tuple[ast.AST, bool, int]] = [(tree, False, 0)]
    while waiting:
        node, is_statement, line = waiting.pop()
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str | bytes):
                yield _String(node, is_statement, line)
            continue
        children: list[ast.AST] = []
        if isinstance(node, ast.JoinedStr):
            if not line:
                yield _String(node, is_statement, 0)
            children = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
            line = line or node.lineno
        else:
            for value in vars(node).values():
                if isinstance(value, list):
                    children += [child for child in value if isinstance(child, ast.AST)]
                elif isinstance(value, ast.AST):
                    children.append(value)
        is_statement = isinstance(node, ast.Expr)
        waiting += [(child, is_statement, line) for child in children if not isinstance(child, ast.expr_context)]


def _unquoted(source: str) -> str:
    """A string expression as in the source, with quotes, escapes and values masked."""
    if source.startswith(("b", "B")):
        return ""
    source = BETWEEN_PIECES.sub(_blank, source)
    return _without_escapes(STRING_EDGE.sub(_blank, source))


def _without_escapes(text: str) -> str:
    text = ESCAPE.sub(_blank, text)
    return FORMAT_FIELD.sub(_placeholder, BRACES.sub(_placeholder, text))


def _message(text: str, line: int) -> Iterator[Passage]:
    """A string as a passage if it reads like prose."""
    text = _without_markup(text)
    if len(re.findall(r"(?<![\w.-])[A-Za-z][a-z']+(?![\w-])", text)) >= MINIMUM_WORDS_OF_MESSAGE:
        yield Passage("message", text, line)


def _docstring_passages(source: str, first_line: int) -> Iterator[Passage]:
    text = _without_markup(STRING_EDGE.sub(_blank, FENCE.sub(_blank, source)))
    block: list[str] = []
    begin, code = first_line, -1

    def finished() -> Iterator[Passage]:
        if any(line.strip() for line in block):
            yield Passage("docstring", "\n".join(block), begin)
        block.clear()

    for number, line in enumerate(text.split("\n"), first_line):
        indent = len(line) - len(line.lstrip())
        if code >= 0 and line.strip() and indent <= code:
            code = -1
        is_code = code >= 0 or re.match(r"\s*(>>>|\.\.\. |\$ )", line) is not None
        breaks = SECTION.match(line) or FIELD.match(line) or LIST_ITEM.match(line) or COLUMNS.match(line)
        if is_code or breaks or not line.strip():
            yield from finished()
        if is_code or SECTION.match(line) or not line.strip():
            continue
        if not block:
            begin = number
        if line.rstrip().endswith("::"):
            code = indent
        block.append(FIELD.sub(_blank, LIST_ITEM.sub(_blank, line)))
    yield from finished()


def _comments(lines: _Lines, strings: list[tuple[int, int]]) -> Iterator[Passage]:
    """Comments of Python; those on consecutive lines of their own are one passage."""
    begins = [begin for begin, _ in strings]
    found: list[tuple[int, bool, str]] = []
    last_line = 0
    for mark in re.finditer(rb"#[^\n]*", lines.raw):
        for hash_sign in re.finditer(b"#", mark[0]):
            offset = mark.start() + hash_sign.start()
            before = bisect_right(begins, offset) - 1
            number = lines.line_at(offset)
            if number == last_line or (before >= 0 and offset < strings[before][1]):
                continue
            last_line = number
            alone = not lines.raw[lines.begins[number - 1] : offset].strip()
            found.append((number, alone, lines.raw[offset : mark.end()].decode("utf-8")))
    yield from _joined_comments(found)


def _joined_comments(comments: list[tuple[int, bool, str]]) -> Iterator[Passage]:
    """Passages of comments, each given as line, whether it is alone on its line, and text."""
    block: list[str] = []
    begin = 0
    for number, alone, text in [*comments, (0, False, "")]:
        if block and (not alone or number != begin + len(block) or text.startswith("#:")):
            yield Passage("comment", _without_markup("\n".join(block)), begin)
            block = []
        if not text or DIRECTIVE.match(text):
            continue
        prose = re.sub(r"^#+:?", _blank, text)
        if alone:
            begin = begin if block else number
            block.append(prose)
        else:
            yield Passage("comment", _without_markup(prose), number)


def _python_without_messages(text: str) -> Iterator[Passage]:
    return _python_passages(text, messages=False)


def _template_passages(text: str) -> Iterator[Passage]:
    """A Python file with ``$NAME`` or ``{name}`` to be filled in; only comments where it does not parse."""
    try:
        yield from list(_python_passages(re.sub(r"\$\w+|\{\{|\}\}", _placeholder, text)))
    except SyntaxError:
        yield from _hash_comments(text)


# other files

SCRIPT_OR_STYLE = re.compile(r"<(script|style)\b.*?</\1>", re.S | re.I)
JINJA_NOTE = re.compile(r"\{#.*?#\}", re.S)
JINJA_CODE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.S)
SPOKEN_ATTRIBUTE = re.compile(r"\b(?:title|alt|aria-label|placeholder|data-tip|summary)=\"([^\"]*)\"")
JS_TOKEN = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<string>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)", re.S
)
JS_VALUE = re.compile(r"\$\{[^{}]*\}")


def _page_passages(text: str) -> Iterator[Passage]:
    """Visible text of HTML, SVG and Jinja templates, attributes that are read aloud, and strings in Jinja's code."""

    def passage(found: re.Match[str], group: int | str = 0) -> Passage:
        return Passage("page", found[group], text.count("\n", 0, found.start(group)) + 1)

    for script in re.finditer(r"<script\b[^>]*>(.*?)</script>", text, re.S | re.I):
        first = text.count("\n", 0, script.start(1))
        yield from (Passage(p.kind, p.text, p.line + first) for p in _javascript_passages(script[1]))
    visible = SCRIPT_OR_STYLE.sub(_blank, HTML_COMMENT.sub(_blank, text))
    for note in JINJA_NOTE.finditer(visible):
        yield passage(note)
    visible = JINJA_NOTE.sub(_blank, visible)
    for code in JINJA_CODE.finditer(visible):
        first = text.count("\n", 0, code.start())
        yield from (Passage(p.kind, p.text, p.line + first) for p in _javascript_passages(code[0]))
    visible = JINJA_CODE.sub(_placeholder, visible)
    for attribute in SPOKEN_ATTRIBUTE.finditer(visible):
        yield passage(attribute, 1)
    inline = re.sub(r"</?(?:b|i|em|strong|span|small|sup|sub|a)\b[^<>]*>", _blank, visible)
    inline = re.sub(r"<(code|kbd)\b[^<>]*>.*?</\1>", _placeholder, inline, flags=re.S)
    for node in re.finditer(r"(?:^|(?<=>))[^<>]*[a-z][^<>]*(?=<|\Z)", inline):
        yield passage(node)


def _javascript_passages(text: str) -> Iterator[Passage]:
    for token in JS_TOKEN.finditer(text):
        line = text.count("\n", 0, token.start()) + 1
        if token["comment"]:
            yield Passage("comment", re.sub(r"^//+|^/\*+|\*/$|^\s*\*", _blank, token[0]), line)
        else:
            body = JS_VALUE.sub(_placeholder, re.sub(r"^.|.$", " ", token[0]))
            yield from _message(_without_escapes(body), line)


def _style_passages(text: str) -> Iterator[Passage]:
    for note in re.finditer(r"/\*(.*?)\*/", text, re.S):
        yield Passage("comment", note[1], text.count("\n", 0, note.start()) + 1)


def _hash_comments(text: str) -> Iterator[Passage]:
    """Comments of YAML, TOML, Makefiles and shell scripts."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        match = re.search(r"(?:^|(?<=\s))#.*", line)
        if match and line.count('"', 0, match.start()) % 2 == 0:
            found.append((number, not line[: match.start()].strip(), match[0]))
    yield from _joined_comments(found)


READERS: dict[str, Callable[[str], Iterator[Passage]]] = {
    ".md": _markdown_passages,
    ".ipynb": _notebook_passages,
    ".py": _python_passages,
    ".j2": _page_passages,
    ".svg": _page_passages,
    ".html": _page_passages,
    ".js": _javascript_passages,
    ".css": _style_passages,
    ".yaml": _hash_comments,
    ".yml": _hash_comments,
    ".toml": _hash_comments,
    ".sh": _hash_comments,
    "Makefile": _hash_comments,
}
