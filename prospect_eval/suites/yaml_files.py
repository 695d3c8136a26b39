"""Small YAML files that people write: plain values alone, nothing that runs, repeats itself or never ends.

python -c "from prospect_eval.suites.yaml_files import read_yaml; print(read_yaml('a: [1, 2]', 'here'))"
"""

from __future__ import annotations

from typing import Any

import yaml

from prospect_core.util.errors import UserError

#: characters of a file
MOST = 1 << 20


class _Plain(yaml.SafeLoader):
    """Without aliases: a few lines of them stand for more values than any memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read here; write the value out")
        return super().compose_node(parent, index)


def read_yaml(text: str, where: str) -> Any:
    """The values of a YAML text; anything else is a one-line `UserError` that begins with ``where``."""
    if len(text) > MOST:
        raise UserError(f"{where}: has {len(text):,} characters; at most {MOST:,} are read")
    try:
        return yaml.load(text, Loader=_Plain)
    except RecursionError as error:
        raise UserError(f"{where}: not YAML that can be read (nested too deeply)") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{where}: not YAML ({' '.join(str(error).split())[:200]})") from error
