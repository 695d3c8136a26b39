"""A chat model behind an OpenAI-compatible endpoint: time-outs, retries with back-off, errors in one line.

    python -c "from prospect_eval.models.chat_client import Endpoint; print(Endpoint('http://127.0.0.1:8000/v1', 'my-model').url)"

Needs the extra ``endpoint``. The key is read from an environment variable and goes nowhere but to the endpoint; a local
server needs none.
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

#: keys of a request that are not options
_FIXED = ("model", "messages", "stream", "n")
#: options of which a request may have one only
_SAME = (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens"))
#: words of servers on a request that is longer than the model's context
_TOO_LONG = re.compile(
    r"context.{0,20}(length|size|window|limit)|(length|size|window).{0,20}context|exceed_context|maximum context|too many (input )?tokens"
    r"|(prompt|input|request)\b.{0,20} too (long|large)|token limit|payload too large|exceeds?.{0,40}tokens",
    re.IGNORECASE,
)
#: what to do about that
_SHORTEN = "; show fewer pictures (--frames-shown) or replay shorter episodes"


def read_chat_client_options(given: Sequence[str]) -> dict[str, Any]:
    """Options of requests from ``KEY=VALUE``: the value as JSON, or else as text; ``null`` leaves the parameter out."""
    options: dict[str, Any] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise UserError(f"--request-option {text}: give KEY=VALUE, as in max_tokens=2048 or temperature=null")
        if key in _FIXED:
            raise UserError(f"--request-option {text}: {key} cannot be set; options are parameters such as max_tokens")
        if key in options:
            raise UserError(f"--request-option {text}: {key} is given twice; give it once")
        try:
            options[key] = parse_json(value, key)
        except DataError:
            # no JSON: a text without its quotation marks
            options[key] = value
    return options


@dataclass
class Endpoint:
    """One model at one address.

    Attributes:
        url: The API's address.
        model: The model's name there.
        key_variable: Environment variable of the key; a local server needs none.
        timeout_s: Seconds for a reply.
        retries: For busy servers and lost connections, each after a longer wait.
        options: Parameters of every request, which add to or replace those of the caller; None leaves one out.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    timeout_s: float = 120.0
    retries: int = 4
    options: Mapping[str, Any] = field(default_factory=dict)
    _client: Any = field(init=False, repr=False)
    #: whether a request was ever accepted: what is refused later is not the key, the model or an option
    _accepted: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise UserError(f"--endpoint {self.url}: give the address of its API, as in http://127.0.0.1:8000/v1")
        try:
            import openai
        except ImportError as error:
            raise UserError("an endpoint needs the package openai: `pip install 'prospect-suite[endpoint]'`") from error
        key = os.environ.get(self.key_variable) or "none"
        self._client = openai.OpenAI(base_url=self.url, api_key=key, timeout=self.timeout_s, max_retries=self.retries)

    def complete(self, messages: Sequence[dict[str, Any]], temperature: float, top_p: float, max_tokens: int) -> Reply:
        """One reply, without the model's thinking.

        Raises:
            NoReplyError: The model did not answer, such as when its thinking used up the tokens.
            DataError: The endpoint cannot be had, sends an error, or refuses this request and not others.
            UserError: It refuses the key, the model or the parameters.
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
            advice = _SHORTEN if _TOO_LONG.search(words) else "; start again later"
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
                f"{self.url}: no answer within the time-out; raise --timeout or start again later"
            ) from error
        except openai.APIStatusError as error:
            if error.status_code not in (400, 404, 413, 422):
                raise DataError(f"{self.url}: no usable answer ({_first_line(error)}); start again later") from error
            raise self._refused(error) from error
        except (openai.OpenAIError, ValueError) as error:
            raise DataError(f"{self.url}: no usable answer ({_first_line(error)}); start again later") from error

    def _refused(self, error: Exception) -> UserError:
        """A refused request: one that is too long, or that comes after accepted ones, says nothing about the others."""
        words = _first_line(error)
        if _TOO_LONG.search(words):
            return DataError(
                f"{self.url}: the request is longer than the context of {self.model!r} ({words}){_SHORTEN}"
            )
        if self._accepted:
            return DataError(f"{self.url}: refuses a request for {self.model!r} that is like accepted ones ({words})")
        return UserError(
            f"{self.url}: refuses the request for {self.model!r} ({words});"
            " --request-option KEY=null leaves a parameter out, KEY=VALUE sets one"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
