"""A real runner on a random model, with scripted decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from prospect_core.records import Knobs
from prospect_core.stream import runner as runner_module
from prospect_core.stream.runner import VLMStreamRunner
from prospect_core.stream.strategies.registry import BUILT_IN
from prospect_core.timeline import Episode, Event, Step, Task
from tests.helpers.tiers import slow

TASK = Task("tidy up", (Step("S1", "put the red cube in the box"), Step("S2", "put the blue ball in the bin")))

#: one context strategy of each kind
_EACH_KIND = ("drop_middle", "keydiff", "dst_refresh")
#: parameters: no strategy and the ones with a budget; one of each kind in the default suite, the
#: others in slow tests
STRATEGIES = [
    None,
    *(s.name if s.name in _EACH_KIND else slow(s.name) for s in BUILT_IN if s.limited),
]


def pictures(count: int, size: int = 32) -> np.ndarray[Any, Any]:
    """Return random pictures (count, size, size, 3), uint8."""
    return np.random.default_rng(0).integers(0, 255, (count, size, size, 3), dtype=np.uint8)


class Scripted(VLMStreamRunner):
    """Runner with scripted decisions; everything else is the runner's own.

    Attributes:
        wanted: Step states by frame.
        speaks: Frames on which it speaks.
        raw: The model's own logits of every frame that was read.
        spans: Number of frames of each reading.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        knobs: Knobs,
        wanted: Mapping[int, Sequence[str]] | Sequence[Any] = (),
        speaks: Iterable[int] = (),
        **options: Any,
    ) -> None:
        super().__init__(model, tokenizer, knobs, **options)
        self.wanted, self.speaks = dict(wanted), set(speaks)
        self.raw: list[Any] = []
        self.spans: list[int] = []

    def _decide(self, hidden_1FD: Any) -> Any:
        speaking_1F, update_1F, state_1FK3 = self.model.decide(hidden_1FD, self.stream.markers)
        self.raw += zip(speaking_1F[0], update_1F[0], state_1FK3[0], strict=True)
        heads = super()._decide(hidden_1FD)
        speaking, update, states = heads.speaking_F, heads.update_F, heads.states_FK3
        self.spans.append(len(speaking))
        order = ("not_started", "in_progress", "completed")
        for k in range(len(speaking)):
            now = self.stream.frame + k
            # keep the model's probabilities in the remainder, because they reveal the
            # context
            speaking[k] = 0.999 if now in self.speaks else speaking[k] * 1e-3
            update[k] = 0.999 if now in self.wanted else update[k] * 1e-3
            if now in self.wanted:
                states[k] = np.eye(3)[[order.index(s) for s in self.wanted[now]]]
        return heads


def least(model: Any, tokenizer: Any, name: str) -> int:
    """Return the smallest budget in tokens of a strategy."""
    return VLMStreamRunner(model, tokenizer, Knobs(name, 10**6)).least_budget(TASK)


def busy_episode(frames: int = 120) -> Episode:
    """Make an episode of ``frames`` frames with user turns throughout."""
    users = tuple(Event(f"u{k}", k / 2, "user", f"what about number {k}", frame=k) for k in range(3, frames - 2, 11))
    return Episode("e", "v", 2, 0, frames, TASK, users, file_order=True)


def busy_runner(
    model: Any, tokenizer: Any, name: str, budget: int, cache_dtype: Any = "model", **options: Any
) -> Scripted:
    """Make a runner with updates, refusals and replies throughout."""
    wanted = {6: ("in_progress", "not_started"), 30: ("completed", "not_started"), 31: ("not_started", "not_started"),
              60: ("completed", "in_progress"), 61: ("in_progress", "in_progress"), 90: ("completed", "completed")}  # fmt: skip
    speaks = {*range(4, 120, 9), 30, 61, 62, 63}
    return Scripted(model, tokenizer, Knobs(name, budget, cache_dtype=cache_dtype), wanted, speaks, **options)


def says(monkeypatch: pytest.MonkeyPatch, runner: VLMStreamRunner, texts: Iterable[str]) -> list[list[int]]:
    """Make the model generate these texts in order, through the cache like its own words.

    Returns:
        The contexts before each generation, filled as the runner works.
    """
    remaining, seen = iter(texts), []

    def decode(said: Any, following: Callable[[list[int]], Any], *_: Any) -> tuple[list[int], bool]:
        seen.append(list(runner.stream.context.ids))
        tokens = runner.builder.text(next(remaining))
        for token in tokens:
            following([token])
        return tokens, False

    monkeypatch.setattr(runner_module, "generate_greedily", decode)
    return seen
