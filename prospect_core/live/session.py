"""Run a live session: a checkpoint, a task, a frame source, a screen and a log.

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
from prospect_core.checkpoints.scope import describe_checkpoint_scope
from prospect_core.live.screen import Screen
from prospect_core.live.sources import Ending, WatchLog, read_live_source_frames, watch_live_source
from prospect_core.model.checkpoint import load_model_checkpoint
from prospect_core.records import AskedDtype, Knobs
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.stream.step_output import StepOutput
from prospect_core.stream.strategies.registry import find_registered_strategy as find_strategy
from prospect_core.timeline import Step, Task
from prospect_core.util.console import print_line, quiet_transformers
from prospect_core.util.errors import UserError
from prospect_core.util.json_io import load_json
from prospect_core.util.standard_streams import decode_standard_stream_leniently, standard_stream_argument

logger = logging.getLogger(__name__)


def read_live_session_task(file: Path | None, goal: str | None, steps: Sequence[str]) -> Task:
    """Make the task of a session.

    Args:
        file: JSON file with a task as in a dataset's rows.
        goal: Goal, if there is no file.
        steps: Names of the steps, in order, for ``goal``.

    Raises:
        UserError: If neither or both of ``file`` and ``goal`` are given, or the file is missing.
    """
    if (file is None) == (goal is None) or (file is not None and steps):
        raise UserError("give either --task FILE or --goal TEXT with --step TEXT for each step")
    if file is None and not steps:
        raise UserError("--goal needs at least one --step TEXT: the model tracks the steps of a task")
    if file is not None:
        if not file.is_file():
            raise UserError(f"--task {file}: no such file")
        return load_json(Task, file.read_bytes(), str(file))
    named = (Step(f"S{number}", standard_stream_argument(name)) for number, name in enumerate(steps, 1))
    return Task(standard_stream_argument(goal or ""), tuple(named))


class Typed:
    """Lines of a text file as they arrive, read by a thread.

    There are no lines if the file is absent (``<&-``) or cannot be read. Bytes that are not valid
    in the file's encoding are replaced.

    Args:
        lines: The file, usually standard input.
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
            logger.warning("standard input cannot be read: %s", error)

    def __call__(self) -> str | None:
        """Return the text that has arrived since the last call; None if there is none."""
        out: list[str] = []
        while True:
            try:
                out.append(self._lines.get_nowait())
            except Empty:
                return " ".join(out) or None


@dataclass(frozen=True)
class LiveOptions:
    """Options of `prospect watch`.

    Attributes:
        source: A video file, a camera, or an address.
        ckpt: A checkpoint folder or the name of a released checkpoint.
        task: Task that the assistant helps with.
        strategy: Name of the context strategy.
        budget: Token budget of the strategy; the model's context if None.
        fps: Decision frames per second.
        speed: Playback speed of a file relative to real time.
        stall_s: Seconds without a picture after which the session ends.
        device: Torch device.
        dtype: Number type for computation.
        output: File of the log; ``watch-DATE-TIME.jsonl`` if None.
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
    """Watch a source until it ends; the log records the reason, also after an interruption."""
    quiet_transformers()
    source, task, strategy, fps = options.source, options.task, options.strategy, options.fps
    dtype = choose_checkpoint_folder_dtype(options.device, options.dtype)
    model, tokenizer = load_model_checkpoint(options.ckpt, options.device, dtype=dtype)
    config = model.config
    # a stream without an end needs a limit, and the model's context is one
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
    # errors of task, strategy or source must occur before the log exists
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

    if note := describe_checkpoint_scope(options.ckpt, [""]):
        print_line(f"note: {note}", err=True)
    print_line(f"ready: {options.ckpt} on {source}, log {path}; type a line for a user turn, Ctrl-C ends", err=True)
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
        shown = ", ".join(f"{step} {state.replace('_', ' ')}" for step, state in states.items())
        print_line(f"step states: {shown or 'the task has no steps'}; log {path}", err=True)
