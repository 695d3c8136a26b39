"""Text strategies: drop the cache and read a new prompt.

A strategy decides the contents of the new prompt; the runner reads it into the new context.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prospect_core.sequence.layout import Context, TokenLayout, layout_newest_turns
from prospect_core.timeline import DialogState, Task


@dataclass(frozen=True)
class StreamMemory:
    """State of a stream outside its cache.

    Attributes:
        task: The task.
        state: Tracked state.
        said: (speaker, text) of all utterances, oldest first.
        builder: Token layout.
        recent_utterances: Maximum number of last utterances in a prompt.
        summarize: ``summarize()`` has the model write a progress summary from its current cache,
            ``summarize(context)`` from a prompt with that context. Both use up the cache.
    """

    task: Task
    state: DialogState
    said: tuple[tuple[str, str], ...]
    builder: TokenLayout
    recent_utterances: int
    summarize: Callable[..., str]

    def recent(self) -> tuple[tuple[str, str], ...]:
        """Return the last utterances that fit into the prompt."""
        return layout_newest_turns(self.builder, self.said, self.recent_utterances)


class DropAll:
    """``drop_all``: the system prompt with blank states."""

    name, keeps, limited, writes = "drop_all", "the system prompt with blank states", True, False

    def rebuild(self, memory: StreamMemory) -> Context:
        """Return an empty context."""
        return Context()


class DSTRefresh:
    """``dst_refresh``: the steps with tracked states, order and times, and the last utterances."""

    name, limited, writes = "dst_refresh", True, False
    keeps = "the steps with the tracked states, their order and times, and the last utterances; writes no summary"

    def rebuild(self, memory: StreamMemory) -> Context:
        """Return the tracked state and the last utterances."""
        return Context(memory.state, "", memory.recent())


class SummarizeAndDrop:
    """``summarize_and_drop``: a summary that the model writes from its context, with blank states."""

    name, limited, writes = "summarize_and_drop", True, True
    keeps = "the system prompt with blank states, and a summary that the model writes before the compression"

    def rebuild(self, memory: StreamMemory) -> Context:
        """Return the summary."""
        return Context(None, memory.summarize())


class SummarizeWithDST:
    """``summarize_with_dst``: a summary that the model writes from the tracked state and that agrees with it."""

    name, limited, writes = "summarize_with_dst", True, True
    keeps = "the steps with the tracked states, the last utterances, and a summary that agrees with the tracked states"

    def rebuild(self, memory: StreamMemory) -> Context:
        """Return state, last utterances and summary; a contradicting summary is replaced by one of the states."""
        shown = Context(memory.state, "", memory.recent())
        summary = memory.summarize(shown)
        if text_strategy_summary_contradicts(summary, memory.task, memory.state):
            summary = text_strategy_state_summary(memory.task, memory.state)
        return Context(memory.state, summary, shown.recent)


def text_strategy_summary_contradicts(summary: str, task: Task, state: DialogState) -> bool:
    """Check whether a summary omits a completed step or names a step that has not started.

    A step counts as named if the summary contains its name, in any letter case.
    """
    text = " ".join(summary.lower().split())
    for step in task.steps:
        named = " ".join(step.name.lower().split()) in text
        if named != (state[step.id] == "completed") and state[step.id] != "in_progress":
            return True
    return False


def text_strategy_state_summary(task: Task, state: DialogState) -> str:
    """Describe the tracked state in words: completed steps in order, and steps in progress."""
    names = {step.id: step.name for step in task.steps}
    done = "; ".join(names[step] for step, _ in state.completions)
    begun = "; ".join(step.name for step in task.steps if state[step.id] == "in_progress")
    parts = [f"Done in this order: {done}." if done else "Nothing is done yet."]
    return " ".join([*parts, *([f"Begun: {begun}."] if begun else [])])
