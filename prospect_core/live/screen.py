"""Terminal screen of a live stream: dialogue, states of the steps, cache use.

    prospect watch clip.mp4 --ckpt workbench-tiny --goal "tidy up" --step "put the red cube in the box"

Without a terminal the same information is printed as lines.
"""

from __future__ import annotations

from collections import deque

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from prospect_core.stream.step_output import StepOutput
from prospect_core.timeline import DialogState, Task
from prospect_core.util.console import format_count, make_console

#: number of utterances on the screen
SHOWN = 12
COLOURS = {"not_started": "dim", "in_progress": "yellow", "completed": "green"}
MARKS = {"not_started": "·", "in_progress": "▶", "completed": "✓"}


class Screen:
    """Screen of one stream: ``with Screen(...) as show: show.step(output, dropped, state, said)``.

    Text of the model is never interpreted as markup.

    Args:
        task: Task of the stream.
        title: Title of the screen.
        fps: Decision frames per second.
        budget: Token budget of the cache, if any.
        console: Console to draw on; standard output if None.
    """

    def __init__(self, task: Task, title: str, fps: float, budget: int | None, console: Console | None = None) -> None:
        self.task, self.title, self.fps, self.budget = task, title, fps, budget
        self.console = console or make_console()
        self.dialogue: deque[tuple[float, str, str]] = deque(maxlen=SHOWN)
        self.dropped = self.compressions = 0
        self.output: StepOutput | None = None
        self.state = DialogState.initial(task)
        self._live = Live(console=self.console, refresh_per_second=8, get_renderable=self.page, transient=False)

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def step(self, output: StepOutput, dropped: int, state: DialogState, said: str | None) -> None:
        """Show the result of a step.

        Args:
            output: Output of the step.
            dropped: Frames dropped since the last step.
            state: Dialog state after the step.
            said: User turn before the step, if any.
        """
        seconds = output.frame / self.fps
        self.output, self.state = output, state
        self.dropped += dropped
        self.compressions += output.compression is not None
        lines = [("user", said)] if said else []
        lines += [("step", f"{t.step}->{t.change}") for t in output.transitions]
        lines += [("assistant", output.text)] if output.text else []
        self.dialogue += [(seconds, who, text) for who, text in lines if who != "step"]
        if not self.console.is_terminal:
            if dropped:
                self._line(
                    seconds, "dropped", f"{format_count(dropped, 'frame')}, because the model is slower than the stream"
                )
            for who, text in lines:
                self._line(seconds, who, text)

    def _line(self, seconds: float, who: str, text: str) -> None:
        self.console.print(Text(f"{format_live_screen_clock(seconds)} {who}: {text}"))

    def page(self) -> Panel:
        """Render the screen."""
        said = Table.grid(padding=(0, 1))
        for seconds, who, text in self.dialogue:
            said.add_row(
                Text(format_live_screen_clock(seconds), "dim"),
                Text(who, "cyan" if who == "assistant" else ""),
                Text(text),
            )
        steps = Table.grid(padding=(0, 1))
        for step in self.task.steps:
            now = self.state[step.id]
            steps.add_row(Text(MARKS[now], COLOURS[now]), Text(f"{step.id} {step.name}", COLOURS[now]))
        body = Table.grid(expand=True, padding=(0, 2))
        body.add_column(ratio=3)
        body.add_column(ratio=2)
        body.add_row(said, steps)
        return Panel(Group(body, Text(""), self._cache(), self._foot()), title=Text(self.title), title_align="left")

    def _cache(self) -> Table:
        tokens = (self.output.cache_tokens if self.output else 0) or 0
        row = Table.grid(padding=(0, 1))
        size = ((self.output.cache_bytes if self.output else 0) or 0) / 1e6
        of = f" of {self.budget:,}" if self.budget else ""
        row.add_row(
            Text("cache"),
            ProgressBar(total=self.budget or max(1, tokens), completed=tokens, width=30),
            Text(f"{tokens:,}{of} tokens, {size:.1f} MB, {self.compressions} compressions"),
        )
        return row

    def _foot(self) -> Text:
        output = self.output
        if output is None:
            return Text("waiting for the first frame", "dim")
        lost = f", {self.dropped} frames dropped, because the model is slower than the stream" if self.dropped else ""
        return Text(
            f"{format_live_screen_clock(output.frame / self.fps)}  speaking {output.speaking_prob or 0:.2f}  update"
            f" {output.update_prob or 0:.2f}  {1000 * output.seconds:.0f} ms per frame{lost}",
            "red" if self.dropped else "dim",
        )


def format_live_screen_clock(seconds: float) -> str:
    """Format seconds as mm:ss."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
