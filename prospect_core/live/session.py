"""`prospect watch`: a checkpoint, a task, a live source, a screen and a log.

prospect watch camera --ckpt workbench-tiny --task task.json
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TextIO

from prospect_core.checkpoints.folders import choose_checkpoint_folder_dtype
from prospect_core.live.screen import Screen
from prospect_core.live.sources import Ending, WatchLog, read_live_source_frames, watch_live_source
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.records import AskedDtype, Knobs
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.stream.step_output import StepOutput
from prospect_core.stream.strategies.registry import find_registered_strategy as find_strategy
from prospect_core.timeline import Step, Task
from prospect_core.util.console import quiet_transformers
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import load_json
from prospect_core.util.standard_streams import decode_standard_stream_leniently, standard_stream_argument

logger = logging.getLogger(__name__)


def read_live_session_task(file: Path | None, goal: str | None, steps: Sequence[str]) -> Task:
    """The task of a JSON file, as in a dataset's rows, or of a goal and step names; neither or both is a `UserError`."""
    if (file is None) == (goal is None) or (file is not None and steps):
        raise UserError("give either --task FILE or --goal TEXT with --step TEXT for each step")
    if file is not None:
        if not file.is_file():
            raise UserError(f"--task {file}: no such file")
        return load_json(Task, file.read_bytes(), str(file))
    named = (Step(f"S{number}", standard_stream_argument(name)) for number, name in enumerate(steps, 1))
    return Task(standard_stream_argument(goal or ""), tuple(named))


class Typed:
    """Lines of a file as they come, read by a thread; none where the file is absent (``<&-``) or cannot be read.

    Bytes that are no text in the file's encoding are replaced.
    """

    def __init__(self, lines: TextIO | None) -> None:
        self._lines: SimpleQueue[str] = SimpleQueue()
        if lines is not None:
            threading.Thread(
                target=self._read, args=(decode_standard_stream_leniently(lines),), name="typed", daemon=True
            ).start()

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


@dataclass(frozen=True)
class LiveOptions:
    """What `prospect watch` watches, and how.

    Attributes:
        source: A video file, a camera, or an address.
        ckpt: A checkpoint folder or a released name.
        task: What is to be done.
        strategy: The context strategy.
        budget: Its budget in tokens; None for the model's context.
        fps: Decision frames per second.
        speed: How much faster than in real time a file is played.
        stall_s: Seconds without a picture after which the session ends.
        device: The torch device.
        dtype: What the model computes in.
        output: The log; None for ``watch-DATE-TIME.jsonl``.
    """

    source: str
    ckpt: str
    task: Task
    strategy: str = "dst_refresh"
    budget: int | None = None
    fps: float = 2
    speed: float = 1
    stall_s: float = 15
    device: str = "cpu"
    dtype: AskedDtype = "float32"
    output: Path | None = None


def run_live_session(options: LiveOptions) -> Ending:
    """Watch until the stream ends; the log says how it ended, also after an interruption."""
    quiet_transformers()
    source, task, strategy, fps = options.source, options.task, options.strategy, options.fps
    dtype = choose_checkpoint_folder_dtype(options.device, options.dtype)
    model, tokenizer = load_model_checkpoint(options.ckpt, options.device, dtype=dtype)
    config = model.config
    # an open end needs a limit, and the model's own context is one; a strategy without is told nothing
    limited = strategy != "none"
    budget = options.budget or (config.max_context if limited else None)
    find_strategy(strategy, budget)
    knobs = Knobs(
        strategy,
        budget,
        config.speaking_threshold,
        config.update_threshold,
        dtype=dtype,
    )
    runner = VLMStreamRunner(model, tokenizer, knobs)
    # what cannot be kept or opened is refused before there is a log
    runner.reset(task, fps=fps)
    frames = read_live_source_frames(source, fps, config.frame_format, options.speed, options.stall_s)
    path = options.output or Path(time.strftime("watch-%Y%m%d-%H%M%S.jsonl"))
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
        log.write(source=source, checkpoint=options.ckpt, strategy=strategy, budget=budget, fps=fps, goal=task.goal,
                  steps={step.id: step.name for step in task.steps})  # fmt: skip
        with screen:
            ending = watch_live_source(runner, task, frames, fps, options.stall_s, heard, tell)
        reason = ending.reason
        return ending
    finally:
        states = dict(zip(runner.state.step_ids, runner.state.states, strict=True))
        log.write(ended=reason, frames=log.frames, dropped=log.dropped, states=states)
        log.close()
