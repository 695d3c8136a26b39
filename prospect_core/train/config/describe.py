"""Describe every key of the training configuration, with values, default and meaning from the schema."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types

from prospect_core.train.config.schema import Config


@dataclass(frozen=True)
class KeyDescription:
    """Description of a key.

    Attributes:
        key: Dotted key.
        values: Allowed values as text.
        default: Default as text; empty for a group of keys.
        meaning: Meaning of the key.
    """

    key: str
    values: str
    default: str
    meaning: str


def describe_config_keys(kind: Any = Config, prefix: str = "") -> Iterator[KeyDescription]:
    """Yield the keys of a configuration class in their order; a group comes before its own keys."""
    hints, documented = get_type_hints(kind, include_extras=True), describe_config_fields(kind)
    defaults = kind()
    for field in fields(kind):
        key, hint, default = prefix + field.name, hints[field.name], getattr(defaults, field.name)
        below = next((part for part in (hint, *get_args(hint)) if isinstance(part, type) and is_dataclass(part)), None)
        if below is None:
            yield KeyDescription(key, _values(hint), _text(default), documented[field.name])
            continue
        meaning = " ".join((inspect.getdoc(below) or "").split("\n\n")[0].split())
        yield KeyDescription(key, "null, or the keys below" if NoneType in get_args(hint) else "", "", meaning)
        yield from describe_config_keys(below, f"{key}.")


def describe_config_fields(kind: type) -> dict[str, str]:
    """Return the string below each field of a dataclass on one line; empty if there is none."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {field.name: "" for field in fields(kind)}
    for node, below in zip(tree.body, tree.body[1:], strict=False):
        text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(text, str):
            found[node.target.id] = " ".join(text.split())
    return found


def _values(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        ranges = [_range(one) for one in parts[1:]]
        return f"{_values(parts[0])} {' and '.join(ranges)}"
    if origin is Literal:
        return ", ".join(map(str, parts))
    if origin in (Union, UnionType):
        return " or ".join(_values(part) for part in parts)
    if origin is tuple:
        return f"list of {_values(parts[0])}"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", NoneType: "null"}
    return names[hint]


def _range(limit: Any) -> str:
    for kind, sign in (
        (annotated_types.Ge, ">="),
        (annotated_types.Gt, ">"),
        (annotated_types.Le, "<="),
        (annotated_types.Lt, "<"),
    ):
        if isinstance(limit, kind):
            return f"{sign} {getattr(limit, kind.__name__.lower())}"
    raise TypeError(f"{limit!r} is not a range")


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
