"""Types of configuration values with their ranges."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

Share = Annotated[float, Ge(0), Le(1)]
Positive = Annotated[float, Gt(0)]
PositiveShare = Annotated[float, Gt(0), Le(1)]
NotNegative = Annotated[float, Ge(0)]
Below1 = Annotated[float, Ge(0), Lt(1)]
Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]

#: for the attribute ``__pydantic_config__`` of a dataclass: refuse unknown keys, NaN and infinity
STRICT: dict[str, object] = {"extra": "forbid", "allow_inf_nan": False}
