"""A chat model behind an OpenAI-compatible endpoint: time-outs, retries with back-off, errors in one line.

    python -c "from prospect_eval.endpoint import Endpoint; print(Endpoint('http://127.0.0.1:8000/v1', 'my-model').url)"

Needs the extra ``endpoint``. The key is read from an environment variable and goes nowhere but to the endpoint; a local
server needs none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from prospect_core.errors import DataError, UserError


class Endpoint:
    """One model at one address. ``retries`` are for busy servers and lost connections, each after a longer wait."""

    def __init__(
        self,
        url: str,
        model: str,
        key_variable: str = "OPENAI_API_KEY",
        timeout_s: float = 120.0,
        retries: int = 4,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"--endpoint {url}: give the address of its API, as in http://127.0.0.1:8000/v1")
        try:
            import openai
        except ImportError as error:
            raise UserError("an endpoint needs the package openai: `pip install 'prospect-suite[endpoint]'`") from error
        self.url, self.model = url, model
        self._client = openai.OpenAI(
            base_url=url, api_key=os.environ.get(key_variable) or "none", timeout=timeout_s, max_retries=retries
        )

    def complete(self, messages: Sequence[dict[str, Any]], temperature: float, top_p: float, max_tokens: int) -> str:
        """The text of one reply (empty where there is none). What cannot be had is a `DataError`; a refused key,
        model or request is a `UserError`."""
        import openai

        client: Any = self._client
        try:
            answer = client.chat.completions.create(
                model=self.model, messages=list(messages), temperature=temperature, top_p=top_p, max_tokens=max_tokens
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise UserError(f"{self.url}: refuses the key ({_first_line(error)}); see --key-variable") from error
        except (openai.NotFoundError, openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise UserError(f"{self.url}: refuses the request for {self.model!r} ({_first_line(error)})") from error
        except openai.APITimeoutError as error:
            raise DataError(
                f"{self.url}: no answer within the time-out; raise --timeout or start again later"
            ) from error
        except (openai.OpenAIError, ValueError) as error:
            raise DataError(f"{self.url}: no usable answer ({_first_line(error)}); start again later") from error
        try:
            return answer.choices[0].message.content or ""
        except (AttributeError, IndexError, TypeError) as error:
            # the library does not check the shape of what a server sends
            raise DataError(f"{self.url}: no usable answer ({_first_line(error)}); start again later") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
