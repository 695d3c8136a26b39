"""A local chat server with the format of OpenAI's API."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: (path, Authorization header, body) of a request
Question = tuple[str, "str | None", Any]


class _QuietServer(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing, because some tests use clients that break off."""


@contextmanager
def server(
    answer: Callable[[Any, int], str | tuple[int, str] | tuple[int, str, dict[str, str]]],
    port: int = 0,
) -> Iterator[tuple[str, list[Question]]]:
    """Serve inside the context; give the base URL and the list of all requests so far.

    Args:
        answer: ``answer(body, number)`` returns the reply's text, or the HTTP status, the whole
            body and, if needed, further headers.
        port: The port; 0 for a free one.
    """
    asked: list[Question] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers.get("Authorization"), body))
            given = answer(body, len(asked))
            status, text, *headers = given if isinstance(given, tuple) else (200, reply(given))
            self.send_response(status)
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    httpd = _QuietServer(("127.0.0.1", port), Handler)
    threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/v1", asked
    finally:
        httpd.shutdown()
        httpd.server_close()


def reply(content: Any, finish_reason: str | None = "stop", **fields: Any) -> str:
    """Return the body of a chat completion; ``fields`` are further fields of its message."""
    message = {"role": "assistant", "content": content, **fields}
    choice = {"index": 0, "finish_reason": finish_reason, "message": message}
    completion = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    return json.dumps(completion)


#: a token of a reply with its probability, and the probabilities of the other likely tokens
Token = tuple[str, float, dict[str, float]]


def _entry(token: str, probability: float) -> dict[str, Any]:
    return {"token": token, "logprob": math.log(probability), "bytes": list(token.encode())}


def token_logprobs(*tokens: Token) -> dict[str, Any]:
    """Return the log-probabilities of a reply as vLLM, SGLang and OpenAI send them."""
    content = [
        {**_entry(token, p), "top_logprobs": [_entry(*pair) for pair in ((token, p), *others.items())]}
        for token, p, others in tokens
    ]
    return {"content": content}


def vllm_reply(content: str, tokens: tuple[Token, ...] = (), prompt: int = 100, cached: int = 96) -> str:
    """Return a chat completion with the fields of vLLM (entrypoints/openai/chat_completion/protocol.py)."""
    message: dict[str, Any] = {
        "role": "assistant", "content": content, "refusal": None, "annotations": None, "audio": None,
        "function_call": None, "tool_calls": [], "reasoning": None, "reasoning_content": None,
    }  # fmt: skip
    choice = {
        "index": 0, "message": message, "logprobs": token_logprobs(*tokens) if tokens else None,
        "finish_reason": "stop", "stop_reason": None, "token_ids": None,
    }  # fmt: skip
    spoken = len(tokens) or 2
    usage = {
        "prompt_tokens": prompt, "total_tokens": prompt + spoken, "completion_tokens": spoken,
        "prompt_tokens_details": {"cached_tokens": cached},
    }  # fmt: skip
    return json.dumps({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
        "service_tier": None, "system_fingerprint": None, "usage": usage, "prompt_logprobs": None,
        "prompt_token_ids": None, "kv_transfer_params": None,
    })  # fmt: skip


def sglang_reply(content: str, tokens: tuple[Token, ...] = (), prompt: int = 100, cached: int = 96) -> str:
    """Return a chat completion with the fields of SGLang (srt/entrypoints/openai/protocol.py)."""
    message = {"role": "assistant", "content": content, "reasoning_content": None, "tool_calls": None}
    choice = {
        "index": 0, "message": message, "logprobs": token_logprobs(*tokens) if tokens else None,
        "finish_reason": "stop", "matched_stop": 151645,
    }  # fmt: skip
    spoken = len(tokens) or 2
    usage = {
        "prompt_tokens": prompt, "total_tokens": prompt + spoken, "completion_tokens": spoken,
        "prompt_tokens_details": {"cached_tokens": cached}, "reasoning_tokens": 0,
    }  # fmt: skip
    return json.dumps({
        "id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage,
        "metadata": {"weight_version": "default"},
    })  # fmt: skip


def vllm_error(message: str, kind: str = "BadRequestError", code: int = 400) -> str:
    """Return an error as vLLM sends it."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def sglang_error(message: str, kind: str = "BadRequestError", code: int = 400) -> str:
    """Return an error as SGLang sends it."""
    return json.dumps({"object": "error", "message": message, "type": kind, "param": None, "code": code})
