"""Where things that can be made again are kept: ``$XDG_CACHE_HOME/prospect``, by default ``~/.cache/prospect``.

python -c "from prospect_core.cachedir import cache_dir; print(cache_dir())"
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """The folder, which may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prospect"
