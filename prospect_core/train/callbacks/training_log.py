"""Log of a training: one line per report, and one JSON row each in ``train_log.jsonl``.

    tail -f runs/train/train_log.jsonl

On a terminal a live line below the reports shows step, losses, throughput and memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from prospect_core.train.callbacks.memory import current_memory_bytes, peak_memory_bytes
from prospect_core.train.objectives.losses import MISTAKE, OBJECTIVES
from prospect_core.util.atomic import write_atomic
from prospect_core.util.console import make_console


class TrainingLog(TrainerCallback):
    """Writes the log; a resumed training first removes rows after its checkpoint.

    Args:
        path: File of the log.
        tell: Prints a line for the user.
        goal: End of the training, for the user.
        live: Whether to show a live line.
    """

    def __init__(self, path: Path, tell: Callable[[str], None], goal: str, live: bool = False) -> None:
        self.path, self.tell, self.goal, self.live = path, tell, goal, live
        self.rows: list[dict[str, Any]] = []
        self.trainer: Any = None
        self._line: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Read the rows up to the current step, and start the clock and the live line."""
        if not state.is_world_process_zero:
            return
        if self.path.exists():
            rows = filter(None, map(_row, self.path.read_bytes().splitlines()))
            self.rows = [row for row in rows if row["step"] <= state.global_step]
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._mark = (time.monotonic(), 0, 0, state.global_step)
        if self.live:
            from rich.live import Live

            self._line = Live(console=make_console(stderr=True), refresh_per_second=2, transient=True)
            self._line.start()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remove the live line."""
        self.close()

    def close(self) -> None:
        """Remove the live line, if there is one."""
        if self._line is not None:
            self._line.stop()
            self._line = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Update the live line."""
        if self._line is not None and self.rows:
            share = self.trainer.progress(state.global_step)
            self._line.update(f"step {state.global_step}  {100 * share:.0f} %  {self._words(self.rows[-1])}")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Write a row and print a line."""
        if not state.is_world_process_zero or not logs:
            return
        scores = {
            k.removeprefix("eval_"): None if v is None else round(v, 5)
            for k, v in logs.items()
            if k.startswith("eval_")
        }
        if "loss" not in logs and not scores:
            return
        row: dict[str, Any] = {
            "step": state.global_step,
            "epoch": round(state.epoch or 0.0, 3),
            "seconds": round(self.trainer.seconds(), 1),
        }
        row |= {"eval": scores} if scores else self._report(state, logs)
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        shown = (f"{k} {'undefined' if v is None else format(v, '.3f')}" for k, v in scores.items())
        words = "  ".join(shown) if scores else self._words(row)
        self._say(f"step {row['step']:>6} of {self.goal}  {row['seconds']:>6.0f} s  {words}")

    def _say(self, text: str) -> None:
        """Print a line, above the live one if there is one."""
        if self._line is None:
            self.tell(text)
        else:
            self._line.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _report(self, state: Any, logs: dict[str, float]) -> dict[str, Any]:
        row: dict[str, Any] = {"learning_rate": logs.get("learning_rate")}
        objectives = self.trainer.objectives
        row |= {name: round(logs[f"loss_{name}"], 6) if f"loss_{name}" in logs else None for name in objectives}
        weights = {n: round(logs[f"weight_{n}"], 5) for n in objectives if f"weight_{n}" in logs}
        if weights:
            row["weights"] = weights
        now = (time.monotonic(), *self.trainer.seen(), state.global_step)
        seconds, tokens, frames, steps = (a - b for a, b in zip(now, self._mark, strict=True))
        self._mark = now
        row["tokens_per_s"] = round(tokens / max(seconds, 1e-9), 1)
        row["frames_per_s"] = round(frames / max(seconds, 1e-9), 1)
        row["steps_per_s"] = round(steps / max(seconds, 1e-9), 3)
        row["memory_mb"], row["peak_memory_mb"] = (
            round(current_memory_bytes() / 2**20),
            round(peak_memory_bytes() / 2**20),
        )
        return row

    @staticmethod
    def _words(row: dict[str, Any]) -> str:
        losses = "  ".join(
            f"{n} {'–' if row.get(n) is None else format(row[n], '.4f')}" for n in (*OBJECTIVES, MISTAKE) if n in row
        )
        if "tokens_per_s" not in row:
            return losses
        return f"{losses}  {row['tokens_per_s']:,.0f} tokens/s  {row['memory_mb']:,} MB"

    def summary(self) -> dict[str, Any]:
        """Return means over the first and the last five reports by objective.

        With fewer than ten reports each mean covers half of them. The entries are empty if there
        are no reports.
        """
        rows = [row for row in self.rows if "eval" not in row]
        out: dict[str, Any] = {"steps": rows[-1]["step"] if rows else 0, "first": {}, "last": {}}
        for name in (*OBJECTIVES, MISTAKE):
            values = [row[name] for row in rows if row.get(name) is not None]
            if values:
                few = min(5, max(1, len(values) // 2))
                out["first"][name] = round(sum(values[:few]) / few, 5)
                out["last"][name] = round(sum(values[-few:]) / few, 5)
        return out


def _row(line: bytes) -> dict[str, Any] | None:
    """Parse a row of the log; return None for a line that a crash cut."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
