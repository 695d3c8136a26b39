"""Preview of a training window: its tokens, its frames as thumbnails, the labels of every frame.

    prospect data preview data/workbench --index 3 --html window.html sampling.blank_share=1

The preview shows the token sequence and pictures that go into the collator, not the episode.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from prospect_core.sequence.builder import TokenSequence
from prospect_core.sequence.labels import IGNORE
from prospect_core.timeline import STEP_STATES
from prospect_core.train.data.training_dataset import DSTTrainingDataset
from prospect_core.train.data.window_sampler import TrainingWindow
from prospect_core.util.console import escape_value_for_console, format_count
from prospect_core.util.errors import UserError

#: width of a thumbnail on a terminal, in characters (each is two pixels high)
COLUMNS = 24


@dataclass(frozen=True)
class Piece:
    """Consecutive tokens: (text, whether the token carries loss) of each."""

    tokens: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class FrameRow:
    """A frame of the window: the model's input and its labels.

    Attributes:
        frame: Number of the frame.
        time_s: Its time in seconds.
        picture: (H, W, 3) uint8.
        slots: Number of image slots.
        after: Tokens between this frame and the next.
        speaking: Speaking label; None if it carries no loss.
        update: Update label; None if it carries no loss.
        states: State label of every step; None if it carries no loss.
    """

    frame: int
    time_s: float
    picture: np.ndarray
    slots: int
    after: Piece
    speaking: int | None
    update: int | None
    states: tuple[int | None, ...]

    @property
    def supervised(self) -> bool:
        """Whether any label of this frame carries loss."""
        return any(label is not None for label in (self.speaking, self.update, *self.states))


@dataclass(frozen=True)
class WindowPreview:
    """A training window: its origin, its prompt and its frames.

    Attributes:
        episode: Episode id.
        start: First frame.
        end: Frame after the last.
        fps: Frames per second.
        tokens: Number of tokens.
        learnt: Number of tokens that carry loss.
        opening: Description of the prompt's context.
        context_noise: Description of the context noise.
        steps: (id, name) of each step.
        prompt: Tokens of the prompt.
        rows: Its frames.
    """

    episode: str
    start: int
    end: int
    fps: float
    tokens: int
    learnt: int
    opening: str
    context_noise: str
    steps: tuple[tuple[str, str], ...]
    prompt: Piece
    rows: tuple[FrameRow, ...]


def preview_training_window(dataset: DSTTrainingDataset, index: int) -> WindowPreview:
    """Preview a window of the dataset's current epoch.

    Args:
        dataset: The training dataset.
        index: Number of the window.

    Raises:
        UserError: If there is no such window.
    """
    if not 0 <= index < len(dataset):
        raise UserError(f"--index {index}: give a number from 0 to {len(dataset) - 1}, the windows of the epoch")
    window, _ = dataset.window(index)
    sequence, media = dataset[index]
    tokenizer, per_frame = dataset.builder.tokenizer, dataset.builder.tokens_per_frame
    first = sequence.frame_last[0] - per_frame + 1
    ends = [last - per_frame + 1 for last in sequence.frame_last[1:]] + [len(sequence.ids)]
    rows = [
        FrameRow(
            frame,
            frame / window.episode.fps,
            media[k],
            per_frame,
            _piece(sequence, tokenizer, sequence.frame_last[k] + 1, ends[k]),
            _label(sequence.speaking[k]),
            _label(sequence.update[k]),
            tuple(map(_label, sequence.states[k])),
        )
        for k, frame in enumerate(sequence.frames)
    ]
    context = window.context
    opening = ["tracked states" if context.state is not None else "blank states"]
    opening += ["a progress summary"] if context.summary else []
    opening += [f"the last {len(context.recent)} utterances"] if context.recent else []
    return WindowPreview(
        episode=window.episode.id,
        start=window.start,
        end=window.end,
        fps=window.episode.fps,
        tokens=len(sequence.ids),
        learnt=sum(label != IGNORE for label in sequence.lm_labels),
        opening=", ".join(opening),
        context_noise=_noise_note(window),
        steps=tuple((step.id, step.name) for step in window.episode.task.steps),
        prompt=_piece(sequence, tokenizer, 0, first),
        rows=tuple(rows),
    )


def print_training_window(shown: WindowPreview, console: Any, everything: bool = False) -> None:
    """Print a window: frames with loss or text, and thumbnails of the supervised ones.

    Args:
        shown: The preview.
        console: A rich console.
        everything: Whether to print all frames.
    """
    from rich.rule import Rule
    from rich.text import Text

    console.print(Rule(f"{shown.episode}  frames {shown.start}..{shown.end - 1}"))
    console.print(Text(_facts(shown)))
    console.print(_styled(shown.prompt))
    hidden = 0
    for row in shown.rows:
        if not (row.supervised or row.after.tokens or everything):
            hidden += 1
            continue
        if hidden:
            console.print(Text(f"    ... {format_count(hidden, 'frame')} without label or text", style="dim"))
            hidden = 0
        console.print(
            Text(f"frame {row.frame}  {row.time_s:g} s  {row.slots} x <image>  ", style="bold") + _labels(row, shown)
        )
        if row.supervised and console.is_terminal:
            console.print(_blocks(row.picture))
        if row.after.tokens:
            console.print(Text("    ") + _styled(row.after))
    if hidden:
        console.print(Text(f"    ... {format_count(hidden, 'frame')} without label or text", style="dim"))


def training_window_html(shown: WindowPreview) -> str:
    """Render a self-contained HTML page."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("prospect_core.preview", "."),
        autoescape=True,
        trim_blocks=True,
        finalize=escape_value_for_console,
    )
    environment.filters["png"] = _png
    template = environment.get_template("training_window.html.j2")
    return template.render(shown=shown, facts=_facts(shown), states=STEP_STATES)


def _facts(shown: WindowPreview) -> str:
    supervised = sum(row.supervised for row in shown.rows)
    return (
        f"{len(shown.rows)} frames at {shown.fps:g} fps, {supervised} of them supervised; {shown.tokens} tokens,"
        f" {shown.learnt} of them with loss; prompt shows {shown.opening}{shown.context_noise}"
    )


def _noise_note(window: TrainingWindow) -> str:
    """Describe how the context differs from the reference."""
    changed = {frame for frame, _, _ in window.clip.transitions()}
    named = {"missing updates": window.context_noise.missed & changed, "wrong updates": window.context_noise.wrong.keys(),
             "early replies": window.context_noise.early, "missing replies": window.context_noise.unsaid}  # fmt: skip
    noise = [f"{name} on frames {', '.join(map(str, sorted(frames)))}" for name, frames in named.items() if frames]
    return f"; context noise: {'; '.join(noise)}" if noise else ""


def _piece(sequence: TokenSequence, tokenizer: Any, begin: int, end: int) -> Piece:
    ids, labels = sequence.ids[begin:end], sequence.lm_labels[begin:end]
    # a character can span several tokens: decode up to each token and show what it adds
    texts, done = [], ""
    for k in range(len(ids)):
        so_far = tokenizer.decode(ids[: k + 1], clean_up_tokenization_spaces=False)
        texts.append(so_far[len(done) :] if so_far.startswith(done) else "")
        done = so_far if so_far.startswith(done) else done
    return Piece(tuple((text, label != IGNORE) for text, label in zip(texts, labels, strict=True)))


def _label(value: int) -> int | None:
    return None if value == IGNORE else value


def _labels(row: FrameRow, shown: WindowPreview) -> Any:
    from rich.text import Text

    out = Text()
    for name, label in (("speaking", row.speaking), ("update", row.update)):
        out.append(f"{name} {'–' if label is None else label}  ", style="bold green" if label else "")
    known = [(s, STEP_STATES[v]) for (s, _), v in zip(shown.steps, row.states, strict=True) if v is not None]
    out.append("  ".join(f"{step} {state}" for step, state in known), style="cyan")
    return out


def _styled(piece: Piece) -> Any:
    from rich.text import Text

    out = Text()
    for text, learnt in piece.tokens:
        out.append(text, style="black on green" if learnt else "")
    return out


def _blocks(picture: np.ndarray) -> Any:
    """Draw a picture in half blocks: character colour for the upper pixel, background for the lower one."""
    from PIL import Image
    from rich.text import Text

    small = np.asarray(Image.fromarray(picture).resize((COLUMNS, COLUMNS), Image.Resampling.BOX))
    out = Text()
    for top, bottom in zip(small[::2], small[1::2], strict=True):
        out.append("    ")
        for upper, lower in zip(top, bottom, strict=True):
            out.append("▀", style="rgb({},{},{}) on rgb({},{},{})".format(*upper, *lower))
        out.append("\n")
    return out


def _png(picture: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
