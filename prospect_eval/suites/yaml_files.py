"""Read small YAML files that people write: plain values without aliases or tags."""

from __future__ import annotations

from typing import Any

import yaml

from prospect_core.util.errors import UserError

#: maximum number of characters of a file
MOST = 1 << 20


class _Plain(yaml.SafeLoader):
    """Loader that refuses aliases.

    A few lines with aliases can expand to more values than fit in memory.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported; write the value in full")
        return super().compose_node(parent, index)


def read_yaml(text: str, where: str) -> Any:
    """Read the values of a YAML text.

    Args:
        text: The YAML text, at most `MOST` characters.
        where: Name of the source, with which an error message begins.

    Returns:
        The plain values.

    Raises:
        UserError: The text is too long, not YAML, uses aliases, or is nested too deeply.
    """
    if len(text) > MOST:
        raise UserError(f"{where}: has {len(text):,} characters; at most {MOST:,} are read")
    try:
        return yaml.load(text, Loader=_Plain)
    except RecursionError as error:
        raise UserError(f"{where}: not YAML that can be read (nested too deeply)") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{where}: not YAML ({' '.join(str(error).split())[:200]})") from error
