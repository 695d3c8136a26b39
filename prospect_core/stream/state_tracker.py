"""State tracker of a stream: commits transitions from the predicted states, with debounce.

The state head predicts each step separately on a single frame. For two steps with similar names it
may predict both as completed when one is. A committed transition becomes part of the context and
influences later predictions. Two rules limit what is committed:

* A *jump* (a step predicted as completed that was never in progress) is committed once it has been
  predicted for `JUMP_SECONDS` on all frames read in between. A missed start therefore does not lose
  the step.
* Of several changes of the same kind on a frame (jumps are one kind), only the most probable is
  committed. The next frame with a due update predicts the others again, with that one in its
  context.
"""

from __future__ import annotations

import numpy as np

from prospect_core.timeline import STEP_STATES, Change, DialogState, StepState

JUMP_SECONDS = 1.5


class StateTracker:
    """Tracked state of one stream.

    Args:
        state: Initial state.
        fps: Frames per second of the stream.

    Attributes:
        state: Tracked state.
        fps: Frames per second of the stream.
    """

    def __init__(self, state: DialogState, fps: float) -> None:
        self.state, self.fps = state, fps
        #: held-back jumps by step, with the first frame of their current run
        self.held: dict[str, int] = {}

    def follow(self, frame: int, probs_K3: np.ndarray) -> tuple[list[tuple[str, Change]], list[tuple[str, StepState]]]:
        """Commit transitions on a frame on which an update is due.

        Args:
            frame: Number of the frame.
            probs_K3: Probabilities of `STEP_STATES` for every step.

        Returns:
            (committed changes in the order of the steps, predicted states that no legal change
            reaches).
        """
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
        """Reset the held-back jumps after a frame on which no update is due."""
        self.held.clear()
