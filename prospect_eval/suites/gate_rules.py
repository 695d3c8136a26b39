"""What a gate asks of a run: margins and directions by metric, and what must be exactly as it was. A small YAML file.

python -c "from prospect_eval.suites.gate_rules import read_gate_rules; print(read_gate_rules('strict: true\\nmetrics: {dst_jga: {margin: 0.02}}', 'here'))"

strict: false                       # true: inconclusive fails
exact: [schema]                     # or predictions_digest, or any metric: equal to the last digit
metrics:
  dst_jga: {margin: 0.02}           # may fall by so much
  false_alarms_per_minute: {margin: 0.2, direction: lower}
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Lt

from prospect_core.util.errors import UserError, did_you_mean

#: a comparison or a gate over fewer clusters concludes nothing
MIN_VIDEOS = 10
#: what can be compared exactly besides metrics
EXACT = ("schema", "predictions_digest")
Direction = Literal["higher", "lower", "zero"]


@dataclass(frozen=True)
class Rule:
    """How far a metric may get worse; ``direction`` is where better lies (None: as the metric says)."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    margin: Annotated[float, Ge(0), Lt(math.inf)]
    direction: Direction | None = None


@dataclass(frozen=True)
class Rules:
    """The rules of a gate."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}
    metrics: dict[str, Rule] = field(default_factory=dict)
    exact: tuple[str, ...] = ()
    strict: bool = False

    def plain(self) -> dict[str, Any]:
        """As read from a file."""
        return asdict(self)


def read_gate_rules(text: str, where: str) -> Rules:
    """Rules of a YAML text; anything else is a one-line `UserError` that begins with ``where``."""
    from prospect_eval.suites.yaml_files import read_yaml

    return make_gate_rules(read_yaml(text, where), where)


def make_gate_rules(plain: Any, where: str) -> Rules:
    """Rules of what a YAML or JSON file holds."""
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
        raise UserError(f"{where}: asks for nothing; name metrics with margins, or what must be exact")
    return rules


def check_gate_rules(rules: Rules, known: Iterable[str], where: str) -> None:
    """Refuse rules for a metric that does not exist."""
    check_gate_rule_metrics([*rules.metrics, *(name for name in rules.exact if name not in EXACT)], known, where)


def check_gate_rule_metrics(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse a metric that does not exist."""
    there = list(known)
    for name in names:
        if name not in there:
            raise UserError(f"{where}: there is no metric {name!r}{did_you_mean(name, there)}")
