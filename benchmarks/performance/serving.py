"""Measure the client of served models: prefixes that a server can reuse, speed, overhead and memory.

    make bench-serving

Streams are sent to a stand-in server on the loopback interface (`benchmarks.performance.serving_server`),
which counts tokens and reuses prefixes. A stream of 300 frames is sent twice: with a sliding window of
16 pictures, as PROSPECT did before, and with prompts that only grow between removals of pictures. The
overhead compares 64 streams with a bare asynchronous client that sends the same requests. The last
line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from prospect_core.stream.step_output import StreamModel
from prospect_core.timeline import Step, Task
from prospect_eval.models.chat import ChatAnswer, ChatStream
from prospect_eval.models.chat_client import Endpoint
from prospect_eval.models.chat_encoding import CHAT_ENCODINGS
from prospect_eval.models.event_loop import await_from_thread
from prospect_eval.models.openai_endpoint import EndpointSettings, EndpointStream
from prospect_eval.text.response_store import ResponseStore

FRAMES, SIDE = 300, 384
#: prompt tokens that the stand-in server computes in a second
TOKENS_PER_S = 20_000
#: streams, requests of each and seconds of each request of the comparison with a bare client
STREAMS, REQUESTS, LATENCY_S, ROUNDS = 64, 10, 0.25, 5
#: requests of the measurement of memory, and those before it
FLAT_REQUESTS, WARM_REQUESTS = 10_000, 2_000
TASK = Task("make tea", tuple(Step(f"S{k}", name) for k, name in enumerate(("boil water", "pour it", "wait"), 1)))


class SlidingWindowStream(ChatStream):
    """The client before: the newest 16 pictures, encoded for every request, on a synchronous client."""

    def __init__(self, url: str) -> None:
        import openai

        super().__init__(16, 1, CHAT_ENCODINGS["smolvlm2"])
        self.client = openai.OpenAI(base_url=url, api_key="none")

    def answer(self, messages: list[dict[str, Any]]) -> ChatAnswer:
        """Request a reply."""
        sent: Any = [{**message, "content": [_sent(part) for part in message["content"]]} for message in messages]
        given = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 128}
        reply = self.client.chat.completions.create(model="m", messages=sent, extra_body=given)
        return ChatAnswer(reply.choices[0].message.content or "")


def _sent(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return part
    buffer = io.BytesIO()
    Image.fromarray(part["image"]).save(buffer, "JPEG", quality=90)
    url = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}


@contextmanager
def stand_in(token_s: float = 0.0, fixed_s: float = 0.0) -> Iterator[str]:
    """Run the stand-in server in a process; yields its URL."""
    command = [sys.executable, "-m", "benchmarks.performance.serving_server"]
    command += ["--token-s", str(token_s), "--fixed-s", str(fixed_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        process.stdin.close()


def call(url: str, path: str) -> dict[str, float]:
    """Read the counts of the stand-in server, or reset it."""
    with urllib.request.urlopen(f"{url}/{path}") as reply:
        return dict(json.loads(reply.read()))


def make_pictures(number: int, side: int) -> Iterator[np.ndarray]:
    """Yield pictures (side, side, 3) uint8 with the detail of a filmed scene, each a little different."""
    rng = np.random.default_rng(0)
    base = np.asarray(
        Image.fromarray(rng.integers(0, 255, (48, 48, 3), np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    )
    for shift in range(number):
        yield np.roll(base, 2 * shift, axis=1)


def replay(stream: StreamModel, url: str) -> dict[str, float]:
    """Send a stream of `FRAMES` frames, with a question every minute.

    Returns:
        Seconds, and the counts of the server.
    """
    call(url, "reset")
    pictures = list(make_pictures(FRAMES, SIDE))
    stream.reset(TASK)
    begin = time.perf_counter()
    for number, picture in enumerate(pictures):
        stream.step(picture, "What is next?" if number % 120 == 60 else None)
    return {"seconds": time.perf_counter() - begin, **call(url, "counts")}


def measure_prefixes() -> dict[str, Any]:
    """Compare the stream of growing prompts with the sliding window, in every chat encoding."""
    result: dict[str, Any] = {}
    with stand_in(token_s=1 / TOKENS_PER_S) as url:
        replay(EndpointStream(Endpoint(url, "m")), url)
        before = replay(SlidingWindowStream(url), url)
        after = replay(EndpointStream(Endpoint(url, "m")), url)
        shares = {}
        for name, encoding in CHAT_ENCODINGS.items():
            counts = replay(EndpointStream(Endpoint(url, "m"), EndpointSettings(encoding=encoding)), url)
            shares[name] = round(counts["prefix_tokens"] / counts["prompt_tokens"], 3)
    for name, counts in (("before", before), ("after", after)):
        new = counts["prompt_tokens"] - counts["cached_tokens"]
        result[f"{name}_s"] = round(counts["seconds"], 2)
        result[f"{name}_prompt_tokens"] = int(counts["prompt_tokens"])
        result[f"{name}_computed_tokens"] = int(new)
        result[f"{name}_megabytes"] = round(counts["bytes"] / 2**20, 1)
    result["prefix_share_before"] = round(before["prefix_tokens"] / before["prompt_tokens"], 3)
    result["prefix_share"] = round(after["prefix_tokens"] / after["prompt_tokens"], 3)
    result["prefix_share_by_encoding"] = shares
    result["speedup"] = round(before["seconds"] / after["seconds"], 2)
    return result


def measure_overhead(folder: Path) -> dict[str, Any]:
    """Compare 64 streams with bare asynchronous clients that send the same requests.

    ``typed`` passes the chat to the package openai as its documentation shows, ``bare`` passes it
    without the package's conversion of each part, as the streams do. They take turns; ratios are of
    the medians over the rounds.
    """
    chats = _record_chats()
    names = ("typed", "bare", "streams")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    processor: dict[str, list[float]] = {name: [] for name in names}
    with stand_in(fixed_s=LATENCY_S) as url:
        import openai

        endpoint = Endpoint(url, "m", most=STREAMS)
        client = openai.AsyncOpenAI(base_url=url, api_key="none")
        for number in range(ROUNDS + 1):
            for name in names:
                endpoint.store = ResponseStore(folder / f"{number}.sqlite")
                begin, busy = time.perf_counter(), time.process_time()
                if name == "streams":
                    _send_streams(endpoint, chats)
                else:
                    await_from_thread(_send_bare(client, chats, name == "typed"))
                # the first round warms up all, and the limit of concurrent requests
                if number:
                    seconds[name].append(time.perf_counter() - begin)
                    processor[name].append(time.process_time() - busy)
                endpoint.store.close()
        limit = endpoint._transport.limit.limit
    typical = {name: statistics.median(seconds[name]) for name in names}
    cpu_ms = {name: 1000 * statistics.median(processor[name]) / (STREAMS * REQUESTS) for name in names}
    return {
        "client_overhead": round(typical["streams"] / typical["bare"], 3),
        "client_overhead_over_typed": round(typical["streams"] / typical["typed"], 3),
        **{f"{name}_s": round(typical[name], 2) for name in names},
        **{f"{name}_cpu_ms": round(cpu_ms[name], 2) for name in names},
        "limit": limit,
    }


def _record_chats() -> list[list[dict[str, Any]]]:
    """Return the chats of the frames 20 to 29 of a stream."""
    stream = EndpointStream(Endpoint("http://127.0.0.1:9/v1", "m"))
    stream.reset(TASK)
    chats = []
    for number, picture in enumerate(make_pictures(20 + REQUESTS, 96)):
        stream.history.add_frame(stream.encode_picture(picture), number / 2)
        chats.append(stream.messages())
        stream.history.add_answer("")
    return chats[20:]


def _send_streams(endpoint: Endpoint, chats: list[list[dict[str, Any]]]) -> None:
    def one(number: int) -> None:
        stream = EndpointStream(endpoint)
        stream.reset(TASK)
        for chat in chats:
            stream.answer(_of_stream(chat, number))

    with ThreadPoolExecutor(STREAMS) as pool:
        list(pool.map(one, range(STREAMS)))


async def _send_bare(client: Any, chats: list[list[dict[str, Any]]], typed: bool) -> None:
    given = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 128, "logprobs": True, "top_logprobs": 20}

    async def one(number: int) -> None:
        for chat in chats:
            sent: Any = [
                {**m, "content": [p if p["type"] == "text" else _url(p) for p in m["content"]]}
                for m in _of_stream(chat, number)
            ]
            if typed:
                await client.chat.completions.create(model="m", messages=sent, extra_body=given)
            else:
                await client.chat.completions.create(model="m", messages=[], extra_body={**given, "messages": sent})

    await asyncio.gather(*(one(number) for number in range(STREAMS)))


def _url(part: dict[str, Any]) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": part["image"]}}


def _of_stream(chat: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """Return a chat whose first text differs for each stream."""
    return [{"role": "system", "content": [{"type": "text", "text": f"Stream {number}"}]}, *chat[1:]]


def measure_memory(folder: Path) -> dict[str, Any]:
    """Measure the growth of the process over 10,000 requests of 16 streams with stored replies."""
    process, done, lock = psutil.Process(), 0, threading.Lock()
    marks: dict[int, int] = {}
    picture = next(make_pictures(1, 32))
    with stand_in() as url:
        endpoint = Endpoint(url, "m", store=ResponseStore(folder / "memory.sqlite"))

        def one(number: int) -> None:
            nonlocal done
            stream = EndpointStream(endpoint)
            stream.reset(Task(f"watch {number}"))
            while done < WARM_REQUESTS + FLAT_REQUESTS:
                stream.step(picture)
                with lock:
                    done += 1
                    if done in (WARM_REQUESTS, WARM_REQUESTS + FLAT_REQUESTS):
                        marks[done] = process.memory_info().rss

        begin = time.perf_counter()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(one, range(16)))
        seconds = time.perf_counter() - begin
    before, after = sorted(marks.items())
    grown = (after[1] - before[1]) / 2**20
    return {
        "memory_requests": FLAT_REQUESTS,
        "memory_growth_mb": round(grown, 1),
        "memory_mb": round(after[1] / 2**20, 1),
        "requests_per_s": round((WARM_REQUESTS + FLAT_REQUESTS) / seconds),
    }


def main() -> None:
    """Run all measurements."""
    from prospect_core.util.atomic import write_atomic
    from prospect_core.util.json_io import dump_json
    from prospect_eval.runs.environment import collect_run_environment

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    result = measure_prefixes()
    print(result, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        result |= measure_overhead(Path(folder))
        print(result, flush=True)
        result |= measure_memory(Path(folder))
    whole = {"command": "make bench-serving", **result, "environment": collect_run_environment()}
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(options.output, dump_json(whole, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
