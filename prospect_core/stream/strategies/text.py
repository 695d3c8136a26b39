"""Strategies that rebuild the context from text: the cache is dropped, and a new prompt is read.

    prospect strategies

What the new prompt shows is the strategy; that it is read, and so is in the next context, is the runner's work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prospect_core.sequence.layout import Context, TokenLayout, layout_newest_turns
from prospect_core.timeline import DialogState, Task


@dataclass(frozen=True)
class StreamMemory:
    """What the runner knows outside its cache: the tracked state and what was said, oldest first (who, text).

    ``summarize()`` has the model write a progress summary over its cache as it is; ``summarize(context)`` over a prompt
    that shows this context instead. Either spends the cache.
    """

    task: Task
    state: DialogState
    said: tuple[tuple[str, str], ...]
    builder: TokenLayout
    recent_utterances: int
    summarize: Callable[..., str]

    def recent(self) -> tuple[tuple[str, str], ...]:
        """The last utterances, as many as the prompt has room for."""
        return layout_newest_turns(self.builder, self.said, self.recent_utterances)


class DropAll:
    """``drop_all``: the system prompt, states blank."""

    name, keeps, limited, writes = "drop_all", "the system prompt with blank states", True, False

    def rebuild(self, memory: StreamMemory) -> Context:
        """Nothing but the task."""
        return Context()


class DSTRefresh:
    """``dst_refresh``: the steps with their tracked states, order and times, and the last utterances."""

    name, limited, writes = "dst_refresh", True, False
    keeps = "the steps with the tracked states, their order and times, and the last utterances; writes nothing"

    def rebuild(self, memory: StreamMemory) -> Context:
        """The tracked state and what was said last."""
        return Context(memory.state, "", memory.recent())


class SummarizeAndDrop:
    """``summarize_and_drop``: the model sums up what it still has in its context; states blank."""

    name, limited, writes = "summarize_and_drop", True, True
    keeps = "the system prompt with blank states, and a summary that the model writes before it forgets"

    def rebuild(self, memory: StreamMemory) -> Context:
        """The summary alone."""
        return Context(None, memory.summarize())


class SummarizeWithDST:
    """``summarize_with_dst``: the model sums up from the tracked state, and what it writes is held against it."""

    name, limited, writes = "summarize_with_dst", True, True
    keeps = "the steps with the tracked states, the last utterances, and a summary that agrees with the tracked states"

    def rebuild(self, memory: StreamMemory) -> Context:
        """States, last utterances, and the model's summary, or one of the states where it contradicts them."""
        shown = Context(memory.state, "", memory.recent())
        summary = memory.summarize(shown)
        if text_strategy_summary_contradicts(summary, memory.task, memory.state):
            summary = text_strategy_state_summary(memory.task, memory.state)
        return Context(memory.state, summary, shown.recent)


def text_strategy_summary_contradicts(summary: str, task: Task, state: DialogState) -> bool:
    """Whether a summary leaves out a completed step, or names one that is not begun: by the steps' names, in any case."""
    text = " ".join(summary.lower().split())
    for step in task.steps:
        named = " ".join(step.name.lower().split()) in text
        if named != (state[step.id] == "completed") and state[step.id] != "in_progress":
            return True
    return False


def text_strategy_state_summary(task: Task, state: DialogState) -> str:
    """The tracked state in words: what is done, in its order, and what is begun."""
    names = {step.id: step.name for step in task.steps}
    done = "; ".join(names[step] for step, _ in state.completions)
    begun = "; ".join(step.name for step in task.steps if state[step.id] == "in_progress")
    parts = [f"Done in this order: {done}." if done else "Nothing is done yet."]
    return " ".join([*parts, *([f"Begun: {begun}."] if begun else [])])
