"""How far a model comes on a published benchmark that copies from its prompt and looks at no picture.

The copying model takes notes: it counts how often the same question was put for the same item. Its rules use only

- the text of the prompt: it prints the last text in quotes, and of choices the longest;
- the number of polls so far, or the time since a standing question;
- the number of polls or the time left, where the protocol reveals ``horizon`` or ``poll_count``;
- the right answer to the poll before, where the protocol has gold history.

From the right answers it takes only their form: whether a number, or one of two values, is asked for.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prospect_core.records import SCHEMA, EpisodeRecord, Knobs, PolledAnswer, PredictedUtterance, ReplayProtocol
from prospect_core.timeline import Episode, Event, Poll, frame_floor
from prospect_core.util.errors import DataError, UserError
from prospect_eval.suites.benchmark import Benchmark, open_benchmark
from prospect_eval.suites.benchmark_dataset import BenchmarkVideos
from prospect_eval.suites.official_score import OfficialScore, OfficialValues
from prospect_eval.suites.suite import open_suite

MODEL = "copying model"
#: entries of `ReplayProtocol.reveals` that let the model know when polling ends
END_REVEALED = frozenset({"horizon", "poll_count"})
#: polls or seconds that rules wait
WAITS = (*range(1, 13), 15, 20, 30, 45, 60, 90, 120)
#: polls or seconds before the end at which rules act
BEFORE_END = range(12)
PERIODS = (1, 2, 3, 5, 10, 20)
_YES_NO = re.compile(r"\byes\b.*\bno\b", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"\bnumber\b", re.IGNORECASE)
_QUOTED = re.compile(r'"([^"]+)"')
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
POLLS_SO_FAR, POLLS_LEFT, HISTORY = "polls so far", "polls left", "the history"
TIME_SINCE, TIME_LEFT = "time since the question", "time left"


@dataclass(frozen=True)
class PollView:
    """A poll as the copying model sees it.

    Attributes:
        question: The text of the prompt.
        choices: Its choices.
        kind: The benchmark's task or category.
        frame: The last frame before it.
        before: How often the same question was put for the same item before.
        left: How often it will still be put; None where the protocol does not reveal it.
        noted: The last text in quotes of the item's poll before this one; empty where there is none.
        previous: The right answer to the poll before; None without gold history or an earlier poll.
    """

    question: str
    choices: tuple[str, ...]
    kind: str
    frame: int
    before: int
    left: int | None
    noted: str
    previous: str | None


@dataclass(frozen=True)
class StandingView:
    """A standing question as the copying model sees it; frames are those of the episode.

    Attributes:
        question: Its text.
        fps: Decision frames per second.
        asked: The frame after which it is asked.
        end: The frame after the last one at which it can be answered; None where the protocol does not reveal it.
    """

    question: str
    fps: float
    asked: int
    end: int | None


@dataclass(frozen=True)
class CopyRule:
    """A rule of the copying model.

    Attributes:
        name: A description, unique among the rules.
        uses: The information that it uses next to the text of the prompt.
        agrees: Whether it answers a poll for one of two values with the affirmative one.
        speaks: Frames at which it answers a standing question.
    """

    name: str
    uses: str
    agrees: Callable[[PollView], bool] | None = None
    speaks: Callable[[StandingView, range], Iterable[int]] | None = None


@dataclass(frozen=True)
class AnswerForms:
    """The affirmative and the other value of each kind of poll whose right answers are two values."""

    pairs: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @staticmethod
    def of(episodes: Iterable[Episode]) -> AnswerForms:
        """The forms of the polls; the rarer value is the affirmative one."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for episode in episodes:
            for poll in episode.polls:
                found[poll.kind].update(poll.accepted[:1])
        pairs = {}
        for kind, counted in found.items():
            if len(counted) == 2:
                often, rare = (value for value, _ in counted.most_common())
                pairs[kind] = (rare, often)
        return AnswerForms(pairs)

    def answer(self, view: PollView, rule: CopyRule) -> str:
        """The answer of a rule to a poll."""
        if view.choices:
            lengths = [len(choice) for choice in view.choices]
            return LETTERS[lengths.index(max(lengths))]
        if rule.uses == HISTORY and view.previous is not None:
            return view.previous
        agrees = rule.agrees is not None and rule.agrees(view)
        if _YES_NO.search(view.question):
            return "Yes" if agrees else "No"
        quoted = _QUOTED.findall(view.question)
        if view.noted or quoted:
            return view.noted or quoted[-1]
        if _NUMBER.search(view.question):
            return str(view.before + 1)
        if view.kind in self.pairs:
            return self.pairs[view.kind][0 if agrees else 1]
        return view.question


def list_copy_rules(protocol: ReplayProtocol) -> list[CopyRule]:
    """The rules that a protocol lets the copying model follow."""
    rules = [_agree_from(number) for number in WAITS]
    end = bool(END_REVEALED & set(protocol.reveals))
    if end:
        rules += [_agree_before_end(number) for number in BEFORE_END]
    if protocol.history == "gold":
        rules.append(CopyRule("repeats the last right answer of the history", HISTORY))
    if protocol.initiative == "autonomous":
        rules = [_speak_after(seconds) for seconds in WAITS]
        rules += [_speak_every(seconds) for seconds in PERIODS]
        if end:
            rules += [_speak_before_end(seconds) for seconds in BEFORE_END]
    return rules


def _agree_from(number: int) -> CopyRule:
    return CopyRule(f"agrees from poll {number} on", POLLS_SO_FAR, lambda view: view.before + 1 >= number)


def _agree_before_end(number: int) -> CopyRule:
    return CopyRule(
        f"agrees from {number} polls before the last on",
        POLLS_LEFT,
        lambda view: view.left is not None and view.left <= number,
    )


def _speak_after(seconds: int) -> CopyRule:
    return CopyRule(
        f"speaks {seconds} s after the question",
        TIME_SINCE,
        speaks=lambda view, frames: [view.asked + frame_floor(seconds, view.fps)],
    )


def _speak_every(seconds: int) -> CopyRule:
    def speaks(view: StandingView, frames: range) -> Iterable[int]:
        step = max(1, frame_floor(seconds, view.fps))
        return range(view.asked + step, frames.stop, step)

    return CopyRule(f"speaks every {seconds} s after the question", TIME_SINCE, speaks=speaks)


def _speak_before_end(seconds: int) -> CopyRule:
    def speaks(view: StandingView, frames: range) -> Iterable[int]:
        return [] if view.end is None else [view.end - 1 - frame_floor(seconds, view.fps)]

    return CopyRule(f"speaks {seconds} s before the end", TIME_LEFT, speaks=speaks)


def list_poll_views(episode: Episode, protocol: ReplayProtocol) -> list[PollView]:
    """The polls of an episode as the copying model sees them, in their order."""
    keys = [_poll_key(poll) for poll in episode.polls]
    total = Counter(keys)
    knows_end = bool(END_REVEALED & set(protocol.reveals))
    seen: Counter[tuple[str, str]] = Counter()
    noted: dict[str, str] = {}
    previous: dict[str, str] = {}
    views = []
    for poll, key in zip(episode.polls, keys, strict=True):
        seen[key] += 1
        item = key[0]
        views.append(
            PollView(
                question=poll.question,
                choices=poll.choices,
                kind=poll.kind,
                frame=episode.poll_frame(poll),
                before=seen[key] - 1,
                left=total[key] - seen[key] if knows_end else None,
                noted=noted.get(item, ""),
                previous=previous.get(item) if protocol.history == "gold" else None,
            )
        )
        quoted = _QUOTED.findall(poll.question)
        # the question itself quotes less than the poll that asks whether now is the time
        if quoted and _YES_NO.search(poll.question):
            noted[item] = quoted[-1]
        if poll.accepted:
            previous[item] = poll.accepted[0]
    return views


def _poll_key(poll: Poll) -> tuple[str, str]:
    """Item and question: equal for polls that put the same question for one item."""
    return poll.meta.get("item", ""), poll.question


def make_copying_record(
    episode: Episode, views: Sequence[PollView], protocol: ReplayProtocol, rule: CopyRule, forms: AnswerForms
) -> EpisodeRecord:
    """Answers and utterances of the copying model in an episode; ``views`` are those of `list_poll_views`."""
    answers = tuple(
        PolledAnswer(poll.id, view.frame, forms.answer(view, rule))
        for poll, view in zip(episode.polls, views, strict=True)
    )
    said = dict(_speak(episode, protocol, rule)) if rule.speaks else {}
    utterances = tuple(PredictedUtterance(frame, text) for frame, text in sorted(said.items()))
    return EpisodeRecord(SCHEMA, MODEL, Knobs(protocol=protocol), episode, utterances=utterances, answers=answers)


def _speak(episode: Episode, protocol: ReplayProtocol, rule: CopyRule) -> Iterator[tuple[int, str]]:
    """(frame, text) of the answers to the standing questions: the text in quotes, else a running number."""
    assert rule.speaks is not None
    frames = range(episode.start_frame, episode.end_frame)
    for asked, event in episode.user_turns():
        if event.open_until is None:
            continue
        view = StandingView(event.text, episode.fps, asked, _find_end(episode, event, protocol))
        inside = [frame for frame in rule.speaks(view, frames) if asked < frame < frames.stop]
        quoted = _QUOTED.findall(event.text)
        for number, frame in enumerate(inside, 1):
            yield frame, quoted[-1] if quoted else str(number)


def _find_end(episode: Episode, event: Event, protocol: ReplayProtocol) -> int | None:
    if not END_REVEALED & set(protocol.reveals) or event.open_until is None:
        return None
    return min(frame_floor(event.open_until, episode.fps), episode.end_frame)


@dataclass(frozen=True)
class LeakValue:
    """An official value of the best rule that uses the same information, next to that of the best constant answer.

    Attributes:
        value: Name of the official value.
        uses: The information that the rule uses next to the text of the prompt.
        rule: The best rule; empty where the value is undefined.
        copied: Its value.
        constant_name: The best plausible constant answer; empty where the value is undefined.
        constant: Its value.
        exploit_name: The best constant answer that uses a weakness of the published scorer; empty where there is none.
        exploit: Its value.
    """

    value: str
    uses: str
    rule: str
    copied: float | None
    constant_name: str
    constant: float | None
    exploit_name: str = ""
    exploit: float | None = None

    @property
    def is_above_constant(self) -> bool:
        """Whether copying is better than any plausible constant answer."""
        return self.copied is not None and self.constant is not None and self.copied > self.constant


@dataclass(frozen=True)
class ProtocolLeaks:
    """Official values of the copying model under one protocol.

    Attributes:
        name: The suite's name of the protocol.
        protocol: The protocol in words.
        reveals: Information beyond the question that its prompts reveal.
        items: Number of items.
        values: The headline values by what the rules use.
        rules: All official values by rule.
        error: Why nothing could be scored; empty where it was.
    """

    name: str
    protocol: str
    reveals: tuple[str, ...]
    items: int = 0
    values: tuple[LeakValue, ...] = ()
    rules: Mapping[str, OfficialValues] = field(default_factory=dict)
    error: str = ""


def check_suite_leaks(suite: str, root: Path, protocols: Sequence[str] = ()) -> list[ProtocolLeaks]:
    """Run the copying model under the protocols of a published benchmark.

    A protocol under which no item gives an episode, or whose scores need what is not there (such as an LLM judge), has an
    error in place of values.

    Args:
        suite: The suite of the benchmark.
        root: The folder of its annotations. Videos are not needed; their lengths are used where they are there.
        protocols: Names of protocols; all of the suite where there are none.

    Raises:
        UserError: The suite has no published benchmark, or models cannot be run on it, or a protocol is unknown.
        DataError: The annotations are missing or broken.
    """
    opened = open_suite(suite)
    if not opened.benchmark:
        raise UserError(f"--suite {suite}: leaks are checked for published benchmarks")
    benchmark = open_benchmark(opened.benchmark)
    if benchmark.replay is None:
        raise UserError(f"--suite {suite}: only published predictions are scored; no prompt is known")
    copied = _CopiedBenchmark(benchmark, benchmark.read_annotations(root), opened.fps, root)
    found = []
    for name in protocols or tuple(opened.protocols):
        protocol = opened.protocol(name) or ReplayProtocol()
        try:
            found.append(copied.check(name, protocol))
        except (DataError, UserError) as error:
            found.append(ProtocolLeaks(name, protocol.describe(), protocol.reveals, error=str(error)))
    return found


@dataclass(frozen=True)
class _CopiedBenchmark:
    """A benchmark that the copying model is run on; its annotations have a type of their own, hence ``Any``."""

    benchmark: Benchmark[Any, Any]
    annotations: Any
    fps: float
    root: Path

    def check(self, name: str, protocol: ReplayProtocol) -> ProtocolLeaks:
        replay = self.benchmark.replay
        assert replay is not None
        videos = BenchmarkVideos(self.root, self.fps, replay.video_folders)
        episodes = replay.make_episodes(self.annotations, protocol, videos).episodes
        if not episodes:
            raise DataError(f"{self.root}: no item gives an episode")
        views = [list_poll_views(episode, protocol) for episode in episodes]
        forms = AnswerForms.of(episodes)
        rules = list_copy_rules(protocol)
        scores: dict[str, OfficialScore] = {}
        records: list[EpisodeRecord] = []
        for rule in rules:
            records = [
                make_copying_record(episode, seen, protocol, rule, forms)
                for episode, seen in zip(episodes, views, strict=True)
            ]
            scores[rule.name] = replay.score_records(self.annotations, records)
        constants = replay.constants(self.annotations, records)
        values = [
            self._compare(value, uses, {rule.name: scores[rule.name] for rule in rules if rule.uses == uses}, constants)
            for value in self.benchmark.headline
            for uses in dict.fromkeys(rule.uses for rule in rules)
        ]
        return ProtocolLeaks(
            name=name,
            protocol=protocol.describe(),
            reveals=protocol.reveals,
            items=len(scores[rules[0].name].items),
            values=tuple(values),
            rules={rule: score.values for rule, score in scores.items()},
        )

    def _compare(
        self,
        value: str,
        uses: str,
        rules: Mapping[str, OfficialScore],
        constants: Mapping[str, OfficialScore],
    ) -> LeakValue:
        """The best of the rules that use the same information next to the best constant answers."""
        exploits = self.benchmark.exploits
        rule, copied = _find_best(value, rules)
        plausible = _find_best(value, {name: score for name, score in constants.items() if name not in exploits})
        exploit = _find_best(value, {name: score for name, score in constants.items() if name in exploits})
        return LeakValue(value, uses, rule, copied, *plausible, *exploit)


def _find_best(value: str, scores: Mapping[str, OfficialScore]) -> tuple[str, float | None]:
    """Name and value of the highest score; of equal ones the first."""
    known = {name: number for name, score in scores.items() if (number := score.values.get(value)) is not None}
    if not known:
        return "", None
    best = max(known, key=lambda name: known[name])
    return best, known[best]
