"""Token budget of a stream: what one step may add, and the smallest budget for a task."""

from __future__ import annotations

from typing import Any

from prospect_core.sequence.layout import RECENT_QUOTA, Context, TokenLayout
from prospect_core.timeline import STEP_STATES, DialogState, Task
from prospect_core.util.errors import UserError


class TokenBudget:
    """Budget of one context strategy.

    Args:
        config: Configuration of the model (`DSTSmolVLMConfig`).
        layout: Token layout of the model.
        tokens: The budget; None for no limit.
        writes: Whether the model writes a summary for the strategy.
    """

    def __init__(self, config: Any, layout: TokenLayout, tokens: int | None, writes: bool) -> None:
        self.config, self.layout, self.tokens, self.writes = config, layout, tokens, writes

    def is_exceeded(self, length: int, reserve: int) -> bool:
        """Check whether a context of ``length`` tokens has no room for another step of ``reserve`` tokens."""
        return self.tokens is not None and length > self.tokens - reserve

    def reserve(self, task: Task) -> int:
        """Return the maximum number of tokens that one step may add.

        It covers user text, frame, update, a reply with its two marks and, if the model writes one,
        a summary with its two.
        """
        summary: int = self.config.max_summary_tokens + 2 if self.writes else 0
        speech: int = self.config.max_reply_tokens + 2 + summary
        heard: int = self.config.max_user_tokens + self.config.tokens_per_frame
        return heard + self.layout.longest_update(task) + speech

    def least(self, task: Task) -> int:
        """Return the smallest budget with room for one step in which the longest prompt takes at most half."""
        state = DialogState(
            task.step_ids, (STEP_STATES[2],) * len(task.steps), tuple((s, 99999.0) for s in task.step_ids)
        )
        longest = len(self.layout.prompt(task, Context(state)).ids) + RECENT_QUOTA
        if self.writes:
            longest += self.config.max_summary_tokens + len(self.layout.text("Summary: \n"))
        return max(longest + self.reserve(task), 2 * longest)

    def require_room(self, task: Task) -> None:
        """Check that the budget suffices for a task.

        Raises:
            UserError: Names the smallest sufficient budget.
        """
        least = self.least(task)
        if self.tokens is not None and self.tokens < least:
            raise UserError(
                f"--budget {self.tokens}: too small for the task {task.goal!r}, at least {least} tokens are needed"
            )
