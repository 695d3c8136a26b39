"""Hypothesis strategies: random, legal episodes."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from prospect_core.timeline import (
    CHANGES,
    DialogState,
    Episode,
    Event,
    Step,
    Task,
    exact_fraction,
    sort_timeline_events,
)

FPS = st.sampled_from([1, 2, 2.5, 4, 10, 29.97])


@st.composite
def episodes(draw: st.DrawFn, max_steps: int = 4, max_events: int = 14, min_frames: int = 2) -> Episode:
    """Any number of steps, events of every kind at decimal times, several on one moment, undo included."""
    fps = draw(FPS)
    start = draw(st.integers(0, 30))
    frames = draw(st.integers(min_frames, 80))
    task = Task("tidy up", tuple(Step(f"S{k + 1}", f"do thing {k}") for k in range(draw(st.integers(0, max_steps)))))
    low, high = (
        math.ceil(exact_fraction(start) / exact_fraction(fps) * 1000),
        math.floor((exact_fraction(start) + frames) / exact_fraction(fps) * 1000),
    )
    count = draw(st.integers(0, max_events))
    grain = draw(st.sampled_from([1, 10, 100, 500]))
    times = sorted(min(max(draw(st.integers(low, high)) // grain * grain, low), high) / 1000 for _ in range(count))
    events: list[Event] = []
    state = DialogState.initial(task)
    latest_user = (start + frames - 2) / fps
    for number, time in enumerate(times):
        kind = draw(st.sampled_from(["user", "assistant", "transition", "transition"]))
        if kind == "transition":
            legal = [(s, c) for s in task.step_ids for c in CHANGES if state.is_legal(s, c)]
            if not legal or (events and events[-1].kind != "transition" and events[-1].time == time):
                continue
            step, change = draw(st.sampled_from(legal))
            state = state.apply(step, change, time)
            events.append(Event(f"e{number}", time, "transition", step=step, change=change))
        elif kind == "user" and time <= latest_user - (count + 1) / fps:
            events.append(Event(f"e{number}", time, "user", draw(st.sampled_from(["What now?", "Hm.", "Ünïcode?"]))))
        else:
            text = draw(
                st.sampled_from(["Good, go on.", "Put the cup away.", "Stop!", "Two are left.", "Now the next."])
            )
            events.append(Event(f"e{number}", time, "assistant", text))
    episode = Episode("e", "v.mp4", fps, start, start + frames, task, sort_timeline_events(events))
    if episode.problems():
        # many user turns at once can push what follows past the end: legal data does not do that
        kept = tuple(e for e in events if e.kind != "user")
        episode = Episode("e", "v.mp4", fps, start, start + frames, task, sort_timeline_events(kept))
    return episode.validate()
