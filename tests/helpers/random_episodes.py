"""Hypothesis strategies of random, legal episodes."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import strategies as st

from prospect_core.timeline import (
    CHANGES,
    CandidateInterval,
    DialogState,
    Episode,
    Event,
    Poll,
    Step,
    Task,
    exact_fraction,
    sort_timeline_events,
)

FPS = st.sampled_from([1, 2, 2.5, 4, 10, 29.97])


@st.composite
def episodes(draw: st.DrawFn, max_steps: int = 4, max_events: int = 14, min_frames: int = 2) -> Episode:
    """Draw an episode: any number of steps, events of every kind at decimal times, simultaneous events, undo."""
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
        # many simultaneous user turns can push later events past the end, which legal
        # data never does
        kept = tuple(e for e in events if e.kind != "user")
        episode = Episode("e", "v.mp4", fps, start, start + frames, task, sort_timeline_events(kept))
    return _with_benchmark_fields(draw, episode).validate()


def _with_benchmark_fields(draw: st.DrawFn, episode: Episode) -> Episode:
    """Add fields of benchmarks: reply spans, links to questions, groups, standing questions, polls, candidates."""
    if not draw(st.booleans()):
        return episode
    events: list[Event] = []
    asked: list[str] = []
    for event in episode.events:
        if event.kind == "user" and draw(st.booleans()):
            event = replace(event, open_until=event.time + draw(st.sampled_from([0.0, 2.5, 60.0])))
        if event.kind == "assistant" and draw(st.booleans()):
            span = (event.time, event.time + draw(st.sampled_from([0.0, 1.5, 8.0])))
            event = replace(event, reply_span=span, group=draw(st.sampled_from(["", "item 1"])))
            if asked:
                event = replace(event, answers_to=draw(st.sampled_from(asked)))
        if event.kind == "user":
            asked.append(event.id)
        events.append(event)
    low, high = episode.start_frame, episode.end_frame
    frames = sorted(draw(st.lists(st.integers(low, high), max_size=4)))
    times = [float(exact_fraction(frame) / exact_fraction(episode.fps)) for frame in frames]
    fits = [time for time in times if low <= exact_fraction(time) * exact_fraction(episode.fps) <= high]
    polls = tuple(
        Poll(f"p{k}", time, "Which?", *draw(st.sampled_from([((), ()), ((), ("two",)), (("a", "b"), ("B",))])))
        for k, time in enumerate(fits)
    )
    candidates = tuple(CandidateInterval(f"c{k}", time, time + 1.5) for k, time in enumerate(fits))
    return replace(episode, events=tuple(events), polls=polls, candidates=candidates)
