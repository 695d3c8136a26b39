"""Check that this machine has everything that an evaluation needs.

prospect-eval doctor
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from prospect_core.util.cache_dir import ADVICE, chosen_cache_dir, is_cache_dir_writable
from prospect_eval.runs.environment import VERSIONED

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MachineCheck:
    """Result of one check.

    Attributes:
        name: The checked part.
        ok: Whether it is usable.
        found: Description of the part as found.
        advice: Advice if it is not usable.
        needed: Whether the command fails without it.
    """

    name: str
    ok: bool
    found: str
    advice: str = ""
    needed: bool = True


def run_doctor_checks() -> list[MachineCheck]:
    """Run all checks, in the order of the output."""
    return [
        _versions(),
        _guard("H.264 decoding", _video),
        _guard("semantic similarity", _similarity),
        _guard("METEOR", _meteor),
        _guard("checkpoints", _checkpoints),
        _cache(),
        _device(),
    ]


def _guard(name: str, check: Callable[[], MachineCheck]) -> MachineCheck:
    try:
        return check()
    except Exception as error:
        # an error of any kind is a finding of the doctor
        logger.debug("%s cannot be used", name, exc_info=error)
        return MachineCheck(
            name, False, str(error).splitlines()[0] if str(error) else type(error).__name__, "reinstall"
        )


def _versions() -> MachineCheck:
    found = {}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    lacking = [name for name, value in found.items() if value == "missing"]
    text = ", ".join(f"{name} {value}" for name, value in found.items())
    return MachineCheck("packages", not lacking, text, f"pip install {' '.join(lacking)}" if lacking else "")


def _video() -> MachineCheck:
    import av

    av.codec.Codec("h264", "r")
    return MachineCheck("H.264 decoding", True, f"PyAV {av.__version__} with its own FFmpeg")


def _similarity() -> MachineCheck:
    from prospect_eval.metrics.resources import make_scoring_resources

    resources = make_scoring_resources()
    equal = float(resources.similarity(["put it away"], ["put it away"])[0, 0])
    return MachineCheck("semantic similarity", abs(equal - 1) < 1e-9, resources.similarity_signature)


def _meteor() -> MachineCheck:
    from prospect_eval.metrics.resources import open_meteor_resource

    meteor = open_meteor_resource()
    knows_synonyms = meteor("take the car", "take the auto") > meteor("take the car", "take the cup")
    return MachineCheck("METEOR", knows_synonyms, meteor.signature, "" if knows_synonyms else "reinstall")


def _checkpoints() -> MachineCheck:
    from prospect_core.checkpoints.folders import (
        digest_checkpoint_folder,
        find_checkpoint_folder,
        list_released_checkpoints,
    )

    names = list_released_checkpoints()
    found = ", ".join(f"{name} ({digest_checkpoint_folder(find_checkpoint_folder(name))[:12]})" for name in names)
    return MachineCheck(
        "checkpoints",
        bool(names),
        found or "no released checkpoint",
        "" if names else "train one with `prospect train`",
        False,
    )


def _cache() -> MachineCheck:
    folder = chosen_cache_dir()
    ok = folder is not None and is_cache_dir_writable(folder)
    found = str(folder) if folder else "no home folder"
    return MachineCheck("cache folder", ok, found, "" if ok else f"a temporary folder is used; {ADVICE}", needed=False)


def _device() -> MachineCheck:
    import torch

    text = torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return MachineCheck("device", True, text, needed=False)
