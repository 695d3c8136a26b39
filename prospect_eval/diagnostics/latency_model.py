"""Latency model of the clock ``simulated``, from numbers or from the measurements of a run.

prospect-eval run --ckpt workbench-tiny --suite workbench --clock simulated --latency-model frame=30,output_token=20
"""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from statistics import median

from prospect_core.records import ClockSettings, LatencyModel
from prospect_core.stream.recorded_latencies import read_recorded_latencies
from prospect_core.util.errors import DataError, UserError, require_choice
from prospect_eval.diagnostics.latency import read_latency_diagnostics
from prospect_eval.runs.folder import read_run_folder_records

#: names of the costs, as in ``frame=30``
COSTS = tuple(field.name.removesuffix("_ms") for field in fields(LatencyModel))


def read_latency_model(text: str) -> ClockSettings:
    """Read the argument of ``--latency-model``.

    Args:
        text: Costs in ms such as ``frame=30,prompt_token=0.1,output_token=20``; or a run folder. The
            measured steps of a live run are repeated; from a latency pass a model is fitted.

    Returns:
        Settings with the latencies.

    Raises:
        UserError: An unknown cost or a value that is not a number of 0 or more.
        DataError: The folder has no measured latencies.
    """
    if "=" in text and not Path(text).is_dir():
        return ClockSettings(latency=_read_costs(text))
    folder = Path(text).resolve()
    if not folder.is_dir():
        raise UserError(
            f"--latency-model {text}: neither costs such as frame=30,output_token=20 nor the folder of a run"
        )
    steps, digest = read_recorded_latencies(str(folder))
    if steps:
        return ClockSettings(recorded=str(folder), recorded_digest=digest)
    return ClockSettings(latency=fit_latency_model(folder))


def _read_costs(text: str) -> LatencyModel:
    costs: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        require_choice("--latency-model cost", name, COSTS)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= 0):
            raise UserError(f"--latency-model {text}: {name} is {value!r}; give milliseconds of 0 or more")
        costs[f"{name}_ms"] = number
    return LatencyModel(**costs)


def fit_latency_model(folder: Path) -> LatencyModel:
    """Fit a latency model to the latency pass of a run.

    A step costs the median of the silent steps. A token of a reply costs the further time of the
    speaking steps over the number of their tokens. Reading the prompt is part of the step.

    Args:
        folder: Folder of a run with the clock ``replay`` and a latency pass.

    Raises:
        DataError: The run has no latency pass, or another clock.
    """
    measured = {latency.episode: latency.steps for _, latency in read_latency_diagnostics(folder)}
    if not measured:
        raise DataError(
            f"{folder}: has no measured latencies; `prospect-eval run --latency N` or --clock live measures them"
        )
    config, records = read_run_folder_records(folder)
    if config.knobs.rules.clock != "replay":
        raise DataError(f"{folder}: its latency pass sees other frames than its run; measure with --clock replay")
    silent: list[float] = []
    spoken: list[tuple[float, int]] = []
    for record in records:
        tokens = {u.frame - record.episode.start_frame: u.tokens for u in record.utterances}
        for frame, seconds in enumerate(measured.get(record.episode.id, ())):
            if frame in tokens:
                spoken.append((seconds, tokens[frame]))
            else:
                silent.append(seconds)
    if not silent:
        raise DataError(f"{folder}: its latency pass has no step without a reply")
    step = median(silent)
    total = sum(tokens for _, tokens in spoken)
    token = sum(max(0.0, seconds - step) for seconds, _ in spoken) / total if total else 0.0
    return LatencyModel(frame_ms=round(1000 * step, 3), output_token_ms=round(1000 * token, 3))
