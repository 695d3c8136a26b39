"""A local chat server with the format of OpenAI's API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: (path, Authorization header, body) of a request
Question = tuple[str, "str | None", Any]


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing, because some tests use clients that break off."""


@contextmanager
def server(
    answer: Callable[[Any, int], str | tuple[int, str]],
) -> Iterator[tuple[str, list[Question]]]:
    """Serve inside the context; give the base URL and the list of all requests so far.

    Args:
        answer: ``answer(body, number)`` returns the reply's text, or the HTTP status and the whole
            body.
    """
    asked: list[Question] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers.get("Authorization"), body))
            given = answer(body, len(asked))
            status, text = given if isinstance(given, tuple) else (200, reply(given))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    httpd = _QuietServer(("127.0.0.1", 0), Handler)
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
