"""A stand-in for a model server that counts tokens and reuses prefixes, for `benchmarks.performance.serving`.

A chat is read as a sequence of parts: the mark of a turn (8 tokens), a text (one token for 4
characters) and a picture (196 tokens, as Qwen2.5-VL reads 384 x 384 pixels). As in vLLM and SGLang, the longest beginning of the sequence
that an earlier request had is taken from a cache. Each further token of the prompt takes time, one
request after the other, as on a device that is busy with a prompt. Replies have one token.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import sys
from collections import OrderedDict
from typing import Any

TURN_TOKENS, CHARACTERS, PICTURE_TOKENS = 8, 4, 196
#: number of prefixes that the cache keeps
KEPT = 200_000


class StandIn:
    """The server.

    Attributes:
        token_s: Seconds of each prompt token that is not in the cache.
        fixed_s: Further seconds of each request, which requests wait for at the same time.
        counts: Requests, prompt tokens, tokens in the cache, tokens that begin the request before,
            and bytes since the last reset.
    """

    def __init__(self, token_s: float, fixed_s: float) -> None:
        self.token_s = token_s
        self.fixed_s = fixed_s
        self.counts: dict[str, float] = {}
        self.known: OrderedDict[bytes, None] = OrderedDict()
        self.before: list[bytes] = []
        self.device = asyncio.Lock()
        self.reset()

    def reset(self) -> None:
        """Empty the cache and set all counts to 0."""
        self.counts = {"requests": 0, "prompt_tokens": 0, "cached_tokens": 0, "prefix_tokens": 0, "bytes": 0}
        self.known.clear()
        self.before = []

    def read(self, messages: list[dict[str, Any]]) -> None:
        """Count the tokens of a chat, and put its prefixes into the cache."""
        digest = hashlib.sha256()
        keys: list[bytes] = []
        in_cache = in_before = True
        for message in messages:
            for part in ({"type": "turn", "text": message["role"]}, *message["content"]):
                text = part["text"] if "text" in part else part["image_url"]["url"]
                digest.update(part["type"].encode() + text.encode())
                key, tokens = digest.digest()[:16], _tokens(part)
                in_cache = in_cache and key in self.known
                in_before = in_before and self.before[len(keys) : len(keys) + 1] == [key]
                keys.append(key)
                self.counts["prompt_tokens"] += tokens
                self.counts["cached_tokens"] += tokens * in_cache
                self.counts["prefix_tokens"] += tokens * in_before
        for key in keys:
            self.known[key] = None
            self.known.move_to_end(key)
        while len(self.known) > KEPT:
            self.known.popitem(last=False)
        self.before = keys

    async def answer(self, body: bytes) -> bytes:
        """Return the completion for a request, after the time that it takes."""
        earlier = dict(self.counts)
        self.read(json.loads(body)["messages"])
        total, cached = (int(self.counts[name] - earlier[name]) for name in ("prompt_tokens", "cached_tokens"))
        self.counts["requests"] += 1
        self.counts["bytes"] += len(body)
        if self.token_s:
            async with self.device:
                await asyncio.sleep((total - cached) * self.token_s)
        if self.fixed_s:
            await asyncio.sleep(self.fixed_s)
        return json.dumps(completion(total, cached)).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while request := await _read_request(reader):
                path, body = request
                if path.endswith("/counts"):
                    said = json.dumps(self.counts).encode()
                elif path.endswith("/reset"):
                    self.reset()
                    said = b"{}"
                else:
                    said = await self.answer(body)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(said)}\r\n\r\n"
                writer.write(head.encode() + said)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def completion(prompt: int, cached: int) -> dict[str, Any]:
    """Return a chat completion of silence in the shape of vLLM."""
    likely = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in (("SILENT", 0.9), ("Take", 0.05))]
    content = [{**likely[0], "top_logprobs": likely}]
    message = {"role": "assistant", "content": "SILENT"}
    choice = {"index": 0, "message": message, "logprobs": {"content": content}, "finish_reason": "stop"}
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": 1,
        "total_tokens": prompt + 1,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    return {
        "id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage
    }  # fmt: skip


def _tokens(part: dict[str, Any]) -> int:
    if part["type"] == "turn":
        return TURN_TOKENS
    return math.ceil(len(part["text"]) / CHARACTERS) if "text" in part else PICTURE_TOKENS


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, bytes] | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return first.split()[1], body


async def _run(token_s: float, fixed_s: float) -> None:
    stand_in = StandIn(token_s, fixed_s)
    server = await asyncio.start_server(stand_in.serve, "127.0.0.1", 0, limit=2**20, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    # the server ends with the process that started it
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve on a free port of the loopback interface, print the port, and end with standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--token-s", type=float, default=0.0)
    parser.add_argument("--fixed-s", type=float, default=0.0)
    options = parser.parse_args()
    asyncio.run(_run(options.token_s, options.fixed_s))


if __name__ == "__main__":
    main()
