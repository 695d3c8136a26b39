"""Requests to an OpenAI-compatible server: retries, adaptive concurrency, log-probabilities.

Everything here runs on one event loop. `chat_client.Endpoint` is the interface for other threads.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from prospect_eval.models.request_limit import RequestLimit

#: numbers of likely tokens that are requested in turn, until the server accepts one; 0 for none
TOP_TOKENS = (20, 5, 0)
#: longest wait that a server can ask for, in seconds
LONGEST_WAIT_S = 120.0
_FIRST_WAIT_S, _MOST_WAIT_S = 0.5, 8.0


class ChatTransport:
    """Sends requests to one server.

    Attributes:
        client: Asynchronous client of the package ``openai``.
        retries: Number of retries of a request.
        limit: Limit of concurrent requests.
        top_tokens: Number of likely tokens that the server sends; None before the first reply.
    """

    def __init__(self, client: Any, retries: int, most: int) -> None:
        self.client = client
        self.retries = retries
        self.limit = RequestLimit(most)
        self.top_tokens: int | None = None
        self._probing: asyncio.Lock | None = None

    async def request(
        self, model: str, messages: Sequence[dict[str, Any]], parameters: Mapping[str, Any], probabilities: bool
    ) -> tuple[Any, int]:
        """Send a request until it is answered.

        Args:
            model: Name of the model.
            messages: The chat.
            parameters: Parameters of the request.
            probabilities: Whether to ask for log-probabilities, if the server sends them.

        Returns:
            The completion, and the number of retries.

        Raises:
            openai.OpenAIError: The server refuses the request, or does not answer in time.
        """
        if not probabilities:
            return await self._send(model, messages, parameters)
        if (top := self.top_tokens) is None:
            if self._probing is None:
                self._probing = asyncio.Lock()
            async with self._probing:
                # another request may have found it meanwhile
                top = self.top_tokens
                if top is None:
                    return await self._probe(model, messages, parameters)
        return await self._send(model, messages, {**parameters, **_top(top)})

    async def _probe(
        self, model: str, messages: Sequence[dict[str, Any]], parameters: Mapping[str, Any]
    ) -> tuple[Any, int]:
        """Send the first request, and find the number of likely tokens that the server accepts."""
        import openai

        wanted = TOP_TOKENS[0]
        while True:
            try:
                answer = await self._send(model, messages, {**parameters, **_top(wanted)})
            except openai.APIStatusError as error:
                if error.status_code not in (400, 422) or wanted == 0:
                    raise
                about = re.search("logprob", str(error), re.IGNORECASE)
                wanted = TOP_TOKENS[TOP_TOKENS.index(wanted) + 1] if about else 0
            else:
                self.top_tokens = wanted
                return answer

    async def _send(
        self, model: str, messages: Sequence[dict[str, Any]], parameters: Mapping[str, Any]
    ) -> tuple[Any, int]:
        import openai

        async with self.limit.place():
            for attempt in range(self.retries + 1):
                await self.limit.wait_until_open()
                began = time.monotonic()
                try:
                    # `extra_body` replaces `messages`, which the package would convert part by part:
                    # for 32 pictures this takes longer than everything else
                    answer = await self.client.chat.completions.create(
                        model=model, messages=[], extra_body={**parameters, "messages": messages}
                    )
                except (openai.APIConnectionError, openai.APIStatusError) as error:
                    wait = self._wait_after(error, attempt, began)
                    if wait is None:
                        raise
                    await asyncio.sleep(wait)
                else:
                    self.limit.note_reply(time.monotonic() - began)
                    return answer, attempt
        raise AssertionError("the last attempt returns or raises")

    def _wait_after(self, error: Any, attempt: int, began: float) -> float | None:
        """Return the seconds to wait after a failed attempt; None if the request is not repeated."""
        response = getattr(error, "response", None)
        status: int | None = getattr(error, "status_code", None)
        asked = None if response is None else retry_after_seconds(response.headers)
        if status in (429, 503):
            self.limit.note_overload(began, min(asked or 0.0, LONGEST_WAIT_S))
        if attempt == self.retries or (asked or 0.0) > LONGEST_WAIT_S:
            return None
        said = "" if response is None else response.headers.get("x-should-retry", "")
        again = status is None or status in (408, 409, 429) or status >= 500
        if said == "false" or not (again or said == "true"):
            return None
        if asked is not None:
            return asked
        return min(_FIRST_WAIT_S * 2.0**attempt, _MOST_WAIT_S) * random.uniform(0.75, 1.0)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the wait that a server asks for.

    Args:
        headers: Headers of its response, whose names are in lower case or in a mapping without case.

    Returns:
        The seconds of ``retry-after-ms`` or ``retry-after``, which may be a date; None without a
        valid value.
    """
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) / divisor)
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def _top(number: int) -> dict[str, Any]:
    return {"logprobs": True, "top_logprobs": number} if number else {}
