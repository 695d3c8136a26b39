"""Client for a chat model behind an OpenAI-compatible endpoint, with timeouts and retries.

It needs the extra ``endpoint``. The key is read from an environment variable and sent only to the
endpoint. A local server needs no key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json, load_json, parse_json
from prospect_eval.models.chat_reply import NoReplyError, Reply, read_chat_reply
from prospect_eval.models.chat_transport import ChatTransport
from prospect_eval.models.event_loop import await_from_thread
from prospect_eval.text.response_store import ResponseStore, response_key

#: keys of a request that a user cannot set
_FIXED = ("model", "messages", "stream", "n")
#: pairs of options that exclude each other
_SAME = (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens"))
#: error messages of servers for a request that exceeds the model's context
_TOO_LONG = re.compile(
    r"context.{0,20}(length|size|window|limit)|(length|size|window).{0,20}context|exceed_context|maximum context|too many (input )?tokens"
    r"|(prompt|input|request)\b.{0,20} too (long|large)|token limit|payload too large|exceeds?.{0,40}tokens",
    re.IGNORECASE,
)
#: advice for such an error
_SHORTEN = "; show fewer frames per request (--frames-shown) or replay shorter episodes"


def read_chat_client_options(given: Sequence[str]) -> dict[str, Any]:
    """Parse request options of the form ``KEY=VALUE``.

    Args:
        given: The options. A value is JSON, otherwise text. ``null`` leaves the parameter out of
            the request.

    Returns:
        The value of each parameter.

    Raises:
        UserError: An option has no ``=``, is given twice, or cannot be set.
    """
    options: dict[str, Any] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise UserError(f"--request-option {text}: give KEY=VALUE, such as max_tokens=2048 or temperature=null")
        if key in _FIXED:
            raise UserError(f"--request-option {text}: {key} cannot be set; options are parameters such as max_tokens")
        if key in options:
            raise UserError(f"--request-option {text}: {key} is given twice; give it once")
        try:
            options[key] = parse_json(value, key)
        except DataError:
            # not JSON: a text without quotation marks
            options[key] = value
    return options


@dataclass
class Endpoint:
    """One model at one address. Threads can share it.

    Attributes:
        url: Address of the API.
        model: Name of the model at that address.
        key_variable: Environment variable of the key. A local server needs none.
        timeout_s: Seconds to wait for a reply.
        retries: Number of retries for busy servers and lost connections, with growing waits or
            those that the server asks for.
        options: Parameters of every request. They add to or replace the caller's parameters. None
            leaves a parameter out.
        most: Maximum number of concurrent requests.
        store: Replies on disk; None to keep none.

    Raises:
        UserError: The address is not HTTP, or the package openai is not installed.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    timeout_s: float = 120.0
    retries: int = 4
    options: Mapping[str, Any] = field(default_factory=dict)
    most: int = 64
    store: ResponseStore | None = None
    _transport: ChatTransport = field(init=False, repr=False)
    #: whether a request was accepted: a later refusal is not caused by the key, the model or an
    #: option
    _accepted: bool = field(init=False, default=False)
    #: whether any reply had log-probabilities; None before the first
    _told: bool | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise UserError(f"--endpoint {self.url}: give the address of the API, such as http://127.0.0.1:8000/v1")
        try:
            import openai
        except ImportError as error:
            raise UserError("an endpoint needs the package openai: `pip install 'prospect-suite[endpoint]'`") from error
        key = os.environ.get(self.key_variable) or "none"
        client = openai.AsyncOpenAI(base_url=self.url, api_key=key, timeout=self.timeout_s, max_retries=0)
        self._transport = ChatTransport(client, self.retries, self.most)

    @property
    def sends_probabilities(self) -> bool:
        """Whether the server has sent log-probabilities, or was not asked yet."""
        return self._told is not False

    def complete(self, messages: Sequence[dict[str, Any]], temperature: float, top_p: float, max_tokens: int) -> Reply:
        """Request one reply and remove the model's thinking from it.

        Args:
            messages: The chat.
            temperature: Sampling temperature.
            top_p: Probability mass for nucleus sampling.
            max_tokens: Maximum number of tokens of the reply.

        Raises:
            NoReplyError: The model did not answer, for example because thinking used up the tokens.
            DataError: The endpoint is not reachable, returns an error, or refuses only this
                request.
            UserError: The endpoint refuses the key, the model or the parameters.
        """
        chosen = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        return self._reply(messages, self._parameters(chosen), probabilities=False)

    def complete_greedily(
        self, messages: Sequence[dict[str, Any]], max_tokens: int, probabilities: bool = True
    ) -> Reply:
        """Request the most likely reply, or return the one in the store.

        Args:
            messages: The chat.
            max_tokens: Maximum number of tokens of the reply.
            probabilities: Whether to ask for log-probabilities.

        Raises:
            DataError: As `complete`.
            UserError: As `complete`.
        """
        parameters = self._parameters({"temperature": 0.0, "top_p": 1.0, "max_tokens": max_tokens})
        if self.store is None:
            return self._noted(self._reply(messages, parameters, probabilities), probabilities)
        # without the number of likely tokens, which is unknown before the first reply
        asked = {**parameters, "logprobs": probabilities}
        key = response_key(self.url, self.model, asked, messages)
        if (known := self.store.read(key)) is not None:
            return self._noted(replace(load_json(Reply, known, "a stored reply"), reused=True), probabilities)
        reply = self._reply(messages, parameters, probabilities)
        self.store.write(key, dump_json(reply))
        return self._noted(reply, probabilities)

    def _noted(self, reply: Reply, probabilities: bool) -> Reply:
        if probabilities:
            self._told = bool(self._told) or bool(reply.tokens)
        return reply

    def _reply(self, messages: Sequence[dict[str, Any]], parameters: Mapping[str, Any], probabilities: bool) -> Reply:
        answer, retries = self._ask(messages, parameters, probabilities)
        try:
            reply = read_chat_reply(answer)
        except NoReplyError as error:
            self._accepted = True
            raise NoReplyError(f"{self.url}: {error}") from error
        except DataError as error:
            words = str(error)
            advice = _SHORTEN if _TOO_LONG.search(words) else "; run the command again later"
            raise DataError(f"{self.url}: {words}{advice}") from error
        self._accepted = True
        return replace(reply, retries=retries)

    def _parameters(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        replaced = {other for one, other in _SAME if self.options.get(one) is not None and other not in self.options}
        whole = {**chosen, **self.options}
        return {key: value for key, value in whole.items() if value is not None and key not in replaced}

    def _ask(
        self, messages: Sequence[dict[str, Any]], parameters: Mapping[str, Any], probabilities: bool
    ) -> tuple[Any, int]:
        import openai

        try:
            return await_from_thread(self._transport.request(self.model, list(messages), parameters, probabilities))
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise UserError(f"{self.url}: refuses the key ({_first_line(error)}); see --key-variable") from error
        except openai.APITimeoutError as error:
            raise DataError(
                f"{self.url}: no answer within the time-out; raise --timeout or run the command again later"
            ) from error
        except openai.APIStatusError as error:
            if error.status_code not in (400, 404, 413, 422):
                raise DataError(
                    f"{self.url}: no usable answer ({_first_line(error)}); run the command again later"
                ) from error
            raise self._refused(error) from error
        except (openai.OpenAIError, ValueError) as error:
            raise DataError(
                f"{self.url}: no usable answer ({_first_line(error)}); run the command again later"
            ) from error

    def _refused(self, error: Exception) -> UserError:
        """Return the error of a refused request.

        It is a `DataError` of this request alone if the request is too long or if earlier requests
        were accepted.
        """
        words = _first_line(error)
        if _TOO_LONG.search(words):
            return DataError(
                f"{self.url}: the request is longer than the context of {self.model!r} ({words}){_SHORTEN}"
            )
        if self._accepted:
            return DataError(
                f"{self.url}: refuses a request for {self.model!r} although it accepted similar ones ({words})"
            )
        return UserError(
            f"{self.url}: refuses the request for {self.model!r} ({words});"
            " --request-option KEY=null removes a parameter, KEY=VALUE sets one"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
