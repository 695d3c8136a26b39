"""LLM judge: a language model grades whole dialogues against the reference, in ``judge.json``.

    prospect-eval judge runs/first --endpoint http://127.0.0.1:8000/v1 --model my-judge

This score is optional and separate from the metrics. It uses ProAssist's four criteria with grades 1
to 5: correctness, promptness, efficiency, overall. Every dialogue is judged several times
(``repeats``, at temperature .5 and top-p .95 as in ProAssist). A dialogue's score is the mean of
its readable verdicts, and the metric is the mean over videos.

A verdict must be one JSON object with the four criteria as integers 1..5. Any other reply is
counted as unreadable with its reason. The agreement between repeats is reported with the scores: if
the LLM judge does not agree with itself, its mean has little meaning.

Readable replies are cached on disk by request, so an interrupted judgement resumes. Unreadable
replies are requested again in the next run.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations
from typing import Any, Protocol

import numpy as np

from prospect_core.records import EpisodeRecord
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json
from prospect_eval.metrics import Metric
from prospect_eval.metrics.base import ratio
from prospect_eval.metrics.families import JUDGE
from prospect_eval.models.chat_reply import NoReplyError, Reply
from prospect_eval.stats.clusters import Cluster, find_episode_cluster
from prospect_eval.text.disk_cache import DiskCache

_metric = partial(Metric, family=JUDGE)

CRITERIA = ("correctness", "promptness", "efficiency", "overall")
TEMPERATURE, TOP_P = 0.5, 0.95
INSTRUCTION = """\
You grade an assistant that watches a person's first-person video and helps with a task by speaking proactively.
You get the goal, a reference dialogue and the assistant's dialogue for the same video. The number before each line is the \
second at which it was spoken. The wording may differ from the reference if the meaning is the same.
Grade the assistant from 1 (very poor) to 5 (as good as the reference) by four criteria.
Correctness: Is each utterance right and needed at that point of the task?
Promptness: Does the assistant speak when the person needs it, neither late nor early?
Efficiency: Does the assistant avoid needless and repeated utterances?
Overall: How helpful is the assistant to the person in total?
Think first in a few sentences. Then end with one JSON object and nothing after it, for example
{"correctness": 3, "promptness": 2, "efficiency": 4, "overall": 3}"""


class Chat(Protocol):
    """Interface to the LLM judge, implemented by `chat_client.Endpoint`.

    Attributes:
        url: Address of the API.
        model: Name of the model.
        options: Parameters of every request.
    """

    url: str
    model: str
    options: Mapping[str, Any]

    def complete(self, messages: Sequence[dict[str, Any]], temperature: float, top_p: float, max_tokens: int) -> Reply:
        """Request one reply.

        Args:
            messages: The chat.
            temperature: Sampling temperature.
            top_p: Probability mass for nucleus sampling.
            max_tokens: Maximum number of tokens of the reply.

        Raises:
            NoReplyError: The model gives no answer.
        """
        ...


def judge_dialogue(record: EpisodeRecord, reference: bool) -> str:
    """Return a dialogue as lines ``[t s] User: ...`` and ``[t s] Assistant: ...`` in order of time.

    Args:
        record: The record.
        reference: Whether to take the reference's turns; otherwise the predicted ones.
    """
    episode = record.episode
    said = [(frame, 0, "User", event.text) for frame, event in episode.user_turns()]
    # an assistant's turn is on its frame, a user turn follows its frame
    turns = episode.utterances() if reference else record.utterances
    said += [(turn.frame, -1, "Assistant", turn.text) for turn in turns]
    said.sort(key=lambda turn: turn[:2])
    return "\n".join(f"[{frame / episode.fps:.1f} s] {who}: {' '.join(text.split())}" for frame, _, who, text in said)


def judge_messages(record: EpisodeRecord) -> list[dict[str, str]]:
    """Return the chat that asks the LLM judge for a verdict on a record."""
    parts = [
        f"Goal: {record.episode.task.goal}",
        f"Reference dialogue:\n{judge_dialogue(record, reference=True) or '(nothing is said)'}",
        f"Assistant's dialogue:\n{judge_dialogue(record, reference=False) or '(nothing is said)'}",
    ]
    return [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": "\n\n".join(parts)}]


def read_judge_verdict(text: str | NoReplyError) -> dict[str, int] | str:
    """Read the verdict in a reply.

    Args:
        text: The reply, or the error in place of it.

    Returns:
        The four scores, or the reason why there are none.
    """
    if isinstance(text, NoReplyError):
        return str(text)
    found: list[dict[str, Any]] = []
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(value, dict) and value.keys() & set(CRITERIA):
                found.append(value)
        at = text.find("{", end)
    if not found:
        return "no verdict"
    if any(verdict != found[0] for verdict in found):
        return "several verdicts"
    verdict = found[0]
    if verdict.keys() != set(CRITERIA):
        return "criteria missing or unknown"
    if not all(type(score) is int and 1 <= score <= 5 for score in verdict.values()):
        return "not whole numbers from 1 to 5"
    return {name: verdict[name] for name in CRITERIA}


def is_judge_verdict(text: str) -> bool:
    """Return whether a reply contains a readable verdict."""
    return isinstance(read_judge_verdict(text), dict)


def judge_agreement(scores: Sequence[Sequence[int]]) -> dict[str, float | None]:
    """Measure the agreement between repeated judgements.

    Args:
        scores: Scores of the repeats for each dialogue.

    Returns:
        ``equal``, the share of equal pairs; ``mean_difference``, their mean absolute difference;
        ``alpha``, Krippendorff's alpha for interval data (1 for full agreement, 0 for chance). All
        are None if no dialogue has two scores.
    """
    rows = [row for row in scores if len(row) > 1]
    gaps = [abs(a - b) for row in rows for a, b in combinations(row, 2)]
    if not gaps:
        return {"equal": None, "mean_difference": None, "alpha": None}
    pooled = [score for row in rows for score in row]
    # a dialogue has the weight of its number of scores, hence its pairs over (scores - 1)
    observed = sum(2 * (a - b) ** 2 / (len(row) - 1) for row in rows for a, b in combinations(row, 2)) / len(pooled)
    expected = 2 * float(np.var(pooled, ddof=1))
    alpha = 1 - observed / expected if expected > 0 else None
    return {"equal": gaps.count(0) / len(gaps), "mean_difference": float(np.mean(gaps)), "alpha": alpha}


def judge_records(
    records: Sequence[EpisodeRecord],
    chat: Chat,
    repeats: int = 3,
    workers: int = 4,
    max_tokens: int = 700,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Judge the dialogues of records.

    Args:
        records: Prediction records; failed ones are left out.
        chat: Interface to the LLM judge.
        repeats: Number of judgements of each dialogue.
        workers: Maximum number of concurrent requests.
        max_tokens: Maximum number of tokens of a reply.
        progress: Called with (replies, requests).

    Returns:
        The contents of ``judge.json``.

    Raises:
        DataError: There is no dialogue, no readable verdict, or the endpoint is not reachable.
            Earlier replies stay in the cache.
    """
    good = [record for record in records if record.status == "ok"]
    if not good:
        raise DataError(f"none of {len(records)} episodes could be predicted: there is nothing to judge")
    replies = _ask_all(good, chat, repeats, workers, max_tokens, progress)
    read = [[read_judge_verdict(text) for text in texts] for texts in replies]
    verdicts = [[v for v in row if not isinstance(v, str)] for row in read]
    unreadable = Counter(v for row in read for v in row if isinstance(v, str))
    if not any(verdicts):
        reason, number = unreadable.most_common(1)[0]
        raise DataError(
            f"{chat.url}: none of {unreadable.total()} replies of {chat.model!r} could be read ({reason}: {number})"
        )
    prompt = hashlib.sha256(INSTRUCTION.encode()).hexdigest()[:8]
    signature = {
        "judge": chat.model,
        "prompt": prompt,
        "t": f"{TEMPERATURE:g}",
        "top_p": f"{TOP_P:g}",
        "repeats": str(repeats),
    }
    if chat.options:
        signature["options"] = dump_json(dict(sorted(chat.options.items())))
    table, agreed = {}, {}
    for name in CRITERIA:
        scores = [[verdict[name] for verdict in row] for row in verdicts]
        metric = _metric(
            f"judge_{name}", _unused, ratio, signature, pool="mean", range=(1.0, 5.0),
            definition=f"Mean grade for {name} that the LLM judge gives a dialogue, from 1 (very poor) to 5 (as good as the reference).",
            failure_mode="Judges favor long and confident answers; agreement between repeats does not prove agreement with people.",
        )  # fmt: skip
        rows: list[tuple[Cluster | str, np.ndarray | str]] = [
            (
                find_episode_cluster(record.episode),
                np.array([float(np.mean(row)), 1.0]) if row else "no reply could be read",
            )
            for record, row in zip(good, scores, strict=True)
        ]
        table[metric.name] = metric.entry(metric.pooled(rows))
        agreed[metric.name] = judge_agreement(scores)
    return {
        "schema": 1,
        "judge": chat.model,
        "metrics": table,
        "agreement": agreed,
        "replies": {"asked": repeats * len(good), "unreadable": dict(sorted(unreadable.items()))},
        "episodes": {
            record.episode.id: ["" if isinstance(text, NoReplyError) else text for text in texts]
            for record, texts in zip(good, replies, strict=True)
        },
    }


def _unused(_: Any) -> str:
    return "grades of an LLM judge are not counted from records"


def _ask_all(
    records: Sequence[EpisodeRecord],
    chat: Chat,
    repeats: int,
    workers: int,
    max_tokens: int,
    progress: Callable[[int, int], None],
) -> list[list[str | NoReplyError]]:
    """Return (records, repeats) replies, from the cache if the same request had a readable reply."""
    store = DiskCache("judge/replies")
    asked = {}
    for number, record in enumerate(records):
        for repeat in range(repeats):
            what = [chat.url, chat.model, judge_messages(record), TEMPERATURE, TOP_P, max_tokens, repeat]
            what += [dict(sorted(chat.options.items()))] if chat.options else []
            asked[number, repeat] = json.dumps(what)
    kept = {key: value.decode() for key, value in store.read(asked.values()).items()}
    known: dict[str, str | NoReplyError] = {key: text for key, text in kept.items() if is_judge_verdict(text)}
    missing = {place: key for place, key in asked.items() if key not in known}

    def ask(number: int) -> str | NoReplyError:
        try:
            return chat.complete(judge_messages(records[number]), TEMPERATURE, TOP_P, max_tokens).text
        except NoReplyError as error:
            # the summary line already contains the address
            return NoReplyError(str(error).removeprefix(f"{chat.url}: "))

    with ThreadPoolExecutor(workers) as pool:
        waiting = {key: pool.submit(partial(ask, number)) for (number, _), key in missing.items()}
        try:
            for done, (key, future) in enumerate(waiting.items(), 1):
                known[key] = text = future.result()
                if isinstance(text, str) and is_judge_verdict(text):
                    store.write({key: text.encode()}, replace=True)
                progress(len(asked) - len(missing) + done, len(asked))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [[known[asked[number, repeat]] for repeat in range(repeats)] for number in range(len(records))]
