"""Gate rules: margin and direction of each metric, and values that must not change.

The rules are a small YAML file:

    strict: false                       # true: an inconclusive result fails
    exact: [schema]                     # or predictions_digest, or any metric: equal to the last digit
    metrics:
      dst_jga: {margin: 0.02}           # may fall by at most 0.02
      false_alarms_per_minute: {margin: 0.2, direction: lower}
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Lt

from prospect_core.util.errors import UserError, did_you_mean

#: a comparison or a gate over fewer clusters is inconclusive
MIN_VIDEOS = 10
#: entries other than metrics that can be compared exactly
EXACT = ("schema", "predictions_digest")
Direction = Literal["higher", "lower", "zero"]


@dataclass(frozen=True)
class Rule:
    """How much worse a metric may get.

    Attributes:
        margin: Largest accepted loss, at least 0, in the metric's unit.
        direction: Direction of better values; None takes the metric's own direction.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    margin: Annotated[float, Ge(0), Lt(math.inf)]
    direction: Direction | None = None


@dataclass(frozen=True)
class Rules:
    """The rules of a gate.

    Attributes:
        metrics: Rule of each metric.
        exact: Names of metrics and entries of `EXACT` that must be equal.
        strict: Whether an inconclusive result fails the gate.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    metrics: dict[str, Rule] = field(default_factory=dict)
    exact: tuple[str, ...] = ()
    strict: bool = False

    def plain(self) -> dict[str, Any]:
        """Return the rules as plain values, as read from a file."""
        return asdict(self)


def read_gate_rules(text: str, where: str) -> Rules:
    """Read rules from a YAML text.

    Args:
        text: The YAML text.
        where: Name of the source, with which an error message begins.

    Returns:
        The rules.

    Raises:
        UserError: The text is not YAML, or not a set of rules.
    """
    from prospect_eval.suites.yaml_files import read_yaml

    return make_gate_rules(read_yaml(text, where), where)


def make_gate_rules(plain: Any, where: str) -> Rules:
    """Make rules from the plain values of a YAML or JSON file.

    Args:
        plain: The values.
        where: Name of the source, with which an error message begins.

    Returns:
        The rules.

    Raises:
        UserError: The values are not a set of rules, or the set is empty.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        rules = TypeAdapter(Rules).validate_python(plain)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(
            f"{where}: {place}: {first['msg']}; a rule is `NAME: {{margin: 0.02}}` under `metrics`"
        ) from error
    if not rules.metrics and not rules.exact:
        raise UserError(f"{where}: holds no rules; give metrics with margins, or values that must be exact")
    return rules


def check_gate_rules(rules: Rules, known: Iterable[str], where: str) -> None:
    """Check that every metric of the rules exists.

    Args:
        rules: The rules.
        known: Names of the existing metrics.
        where: Name of the source, with which an error message begins.

    Raises:
        UserError: A metric does not exist.
    """
    check_gate_rule_metrics([*rules.metrics, *(name for name in rules.exact if name not in EXACT)], known, where)


def check_gate_rule_metrics(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Check that metrics exist.

    Args:
        names: Names to check.
        known: Names of the existing metrics.
        where: Name of the source, with which an error message begins.

    Raises:
        UserError: A metric does not exist.
    """
    there = list(known)
    for name in names:
        if name not in there:
            raise UserError(f"{where}: unknown metric {name!r}{did_you_mean(name, there)}")
