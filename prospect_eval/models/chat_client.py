"""Client for a chat model behind an OpenAI-compatible endpoint, with timeouts and retries.

It needs the extra ``endpoint``. The key is read from an environment variable and sent only to the
endpoint. A local server needs no key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import parse_json
from prospect_eval.models.chat_reply import NoReplyError, Reply, read_chat_reply

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
    """One model at one address.

    Attributes:
        url: Address of the API.
        model: Name of the model at that address.
        key_variable: Environment variable of the key. A local server needs none.
        timeout_s: Seconds to wait for a reply.
        retries: Number of retries for busy servers and lost connections, with growing waits.
        options: Parameters of every request. They add to or replace the caller's parameters. None
            leaves a parameter out.

    Raises:
        UserError: The address is not HTTP, or the package openai is not installed.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    timeout_s: float = 120.0
    retries: int = 4
    options: Mapping[str, Any] = field(default_factory=dict)
    _client: Any = field(init=False, repr=False)
    #: whether a request was accepted: a later refusal is not caused by the key, the model or an
    #: option
    _accepted: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise UserError(f"--endpoint {self.url}: give the address of the API, such as http://127.0.0.1:8000/v1")
        try:
            import openai
        except ImportError as error:
            raise UserError("an endpoint needs the package openai: `pip install 'prospect-suite[endpoint]'`") from error
        key = os.environ.get(self.key_variable) or "none"
        self._client = openai.OpenAI(base_url=self.url, api_key=key, timeout=self.timeout_s, max_retries=self.retries)

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
        answer = self._ask(messages, chosen)
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
        return reply

    def _parameters(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        replaced = {other for one, other in _SAME if self.options.get(one) is not None and other not in self.options}
        whole = {**chosen, **self.options}
        return {key: value for key, value in whole.items() if value is not None and key not in replaced}

    def _ask(self, messages: Sequence[dict[str, Any]], chosen: Mapping[str, Any]) -> Any:
        import openai

        try:
            return self._client.chat.completions.create(
                model=self.model, messages=list(messages), extra_body=self._parameters(chosen)
            )
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
