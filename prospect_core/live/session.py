"""`prospect watch`: a checkpoint, a task, a live source, a screen and a log.

prospect watch camera --ckpt workbench-tiny --task task.json
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TextIO

from prospect_core.checkpoints.folders import dtype_on
from prospect_core.live.screen import Screen
from prospect_core.live.sources import Ending, WatchLog, arrivals, watch_stream
from prospect_core.model.checkpoint import load_checkpoint
from prospect_core.records import AskedDtype, Knobs
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.stream.step_output import StepOutput
from prospect_core.stream.strategies.registry import strategy as find_strategy
from prospect_core.timeline import Step, Task
from prospect_core.util.console import quiet_transformers
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import load
from prospect_core.util.standard_streams import replace_undecodable, well_formed

logger = logging.getLogger(__name__)


def task_of(file: Path | None, goal: str | None, steps: Sequence[str]) -> Task:
    """The task of a JSON file, as in a dataset's rows, or of a goal and step names; neither or both is a `UserError`."""
    if (file is None) == (goal is None) or (file is not None and steps):
        raise UserError("give either --task FILE or --goal TEXT with --step TEXT for each step")
    if file is not None:
        if not file.is_file():
            raise UserError(f"--task {file}: no such file")
        return load(Task, file.read_bytes(), str(file))
    named = (Step(f"S{number}", well_formed(name)) for number, name in enumerate(steps, 1))
    return Task(well_formed(goal or ""), tuple(named))


class Typed:
    """Lines of a file as they come, read by a thread; none where the file is absent (``<&-``) or cannot be read.

    Bytes that are no text in the file's encoding are replaced.
    """

    def __init__(self, lines: TextIO | None) -> None:
        self._lines: SimpleQueue[str] = SimpleQueue()
        if lines is not None:
            threading.Thread(target=self._read, args=(replace_undecodable(lines),), name="typed", daemon=True).start()

    def _read(self, lines: TextIO) -> None:
        try:
            for line in lines:
                if said := " ".join(line.split()):
                    self._lines.put(said)
        except (OSError, ValueError) as error:
            logger.warning("what is typed cannot be read: %s", error)

    def __call__(self) -> str | None:
        """What has come since the last call."""
        out: list[str] = []
        while True:
            try:
                out.append(self._lines.get_nowait())
            except Empty:
                return " ".join(out) or None


def run_watch(
    source: str,
    ckpt: str,
    task: Task,
    strategy: str,
    budget: int | None,
    fps: float,
    speed: float,
    stall_s: float,
    device: str,
    dtype: AskedDtype,
    output: Path | None,
) -> Ending:
    """Watch until the stream ends; the log tells that too, also after an interruption."""
    quiet_transformers()
    model, tokenizer = load_checkpoint(ckpt, device, dtype=dtype_on(device, dtype))
    config = model.config
    # an open end needs a limit, and the model's own context is one; a strategy without is told nothing
    limited = strategy != "none"
    budget = budget or (config.max_context if limited else None)
    find_strategy(strategy, budget)
    knobs = Knobs(strategy, budget, config.speaking_threshold, config.update_threshold, dtype=dtype_on(device, dtype))
    runner = VLMStreamRunner(model, tokenizer, knobs)
    # what cannot be kept or opened is refused before there is a log
    runner.reset(task, fps=fps)
    frames = arrivals(source, fps, config.frame_format, speed, stall_s)
    path = output or Path(time.strftime("watch-%Y%m%d-%H%M%S.jsonl"))
    log = WatchLog(path)
    reason = "interrupted"
    said: list[str | None] = [None]
    typed = Typed(sys.stdin)

    def heard() -> str | None:
        said[0] = typed()
        return said[0]

    screen = Screen(task, f"{source} - {task.goal}", fps, budget)

    def tell(output: StepOutput, dropped: int) -> None:
        log.step(output, dropped, fps, said[0])
        screen.step(output, dropped, runner.state, said[0])

    try:
        log.write(source=source, checkpoint=ckpt, strategy=strategy, budget=budget, fps=fps, goal=task.goal,
                  steps={step.id: step.name for step in task.steps})  # fmt: skip
        with screen:
            ending = watch_stream(runner, task, frames, fps, stall_s, heard, tell)
        reason = ending.reason
        return ending
    finally:
        states = dict(zip(runner.state.step_ids, runner.state.states, strict=True))
        log.write(ended=reason, frames=log.frames, dropped=log.dropped, states=states)
        log.close()
