"""What of the states that are seen is written down: the tracked state of a stream, moved by legal changes.

    python -c "from prospect_core.stream.state_tracker import StateTracker; help(StateTracker.follow)"

The state head judges every step by itself, on one frame. Of two steps with like names it may see both completed where one is; what
is written then stands in the context, and is believed. So not all that is seen is written at once:

* a *jump*, a step seen completed that nobody saw in progress, is written once it has been seen for `JUMP_SECONDS`, on all
  frames that were read meanwhile. Whoever missed a start, or its frames, loses no step by that.
* of several changes of the same kind on a frame (jumps are one), the surest is written. The others are seen again on the
  next frame on which an update is due, with that one in the context.
"""

from __future__ import annotations

import numpy as np

from prospect_core.timeline import STEP_STATES, Change, DialogState, StepState

JUMP_SECONDS = 1.5


class StateTracker:
    """The tracked ``state`` of one stream of ``fps`` frames a second."""

    def __init__(self, state: DialogState, fps: float) -> None:
        self.state, self.fps = state, fps
        #: jumps that are held back, with the first of the frames that they have been seen on since
        self.held: dict[str, int] = {}

    def follow(self, frame: int, probs_K3: np.ndarray) -> tuple[list[tuple[str, Change]], list[tuple[str, StepState]]]:
        """Take over what is to be written on this frame, on which an update is due: (changes that were made, in the order of
        the steps; illegal wishes). ``probs_K3`` are the probabilities of `STEP_STATES` for every step."""
        wanted = self.state.changes_to([STEP_STATES[k] for k in probs_K3.argmax(-1)])
        self.held = {step: self.held.get(step, frame) for step, _, changes in wanted if len(changes) > 1}
        sure = dict(zip(self.state.step_ids, probs_K3.max(-1), strict=True))
        surest: dict[tuple[Change, ...], str] = {}
        for step, _, changes in wanted:
            if step in self.held and frame - self.held[step] < JUMP_SECONDS * self.fps:
                continue
            if changes not in surest or sure[step] > sure[surest[changes]]:
                surest[changes] = step
        made = [(step, c) for step, _, changes in wanted if changes and surest.get(changes) == step for c in changes]
        for step, change in made:
            self.state = self.state.apply(step, change, frame / self.fps)
            self.held.pop(step, None)
        return made, [(step, new) for step, new, changes in wanted if not changes]

    def nothing_due(self) -> None:
        """A frame was read on which no update is due: what was seen before it has not lasted."""
        self.held.clear()
