"""A vision chat model behind an OpenAI-compatible endpoint, as a stream.

    prospect-eval run --ckpt endpoint:my-model --endpoint http://127.0.0.1:8000/v1 --data my-videos --streams 4

Each frame is one request with the last `FRAMES_SHOWN` pictures and the whole dialogue.
``--streams`` limits the number of concurrent requests. The extra ``endpoint`` is needed. Pictures
and dialogue are sent only to the given address.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.records import Knobs
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json
from prospect_eval.models.any_stream import make_any_stream_predictor
from prospect_eval.models.base import Predictor, PredictorOptions
from prospect_eval.models.chat import ChatAnswer, ChatStream
from prospect_eval.models.chat_client import Endpoint

#: number of pictures in a request, their longest side in pixels, maximum number of tokens of a
#: reply
FRAMES_SHOWN, LONGEST_SIDE, REPLY_TOKENS = 16, 384, 128


class EndpointStream(ChatStream):
    """One stream to an endpoint. Several streams can share the endpoint."""

    def __init__(self, endpoint: Endpoint, frames_shown: int | None = FRAMES_SHOWN) -> None:
        super().__init__(frames_shown)
        self.endpoint = endpoint

    def answer(self, messages: list[dict[str, Any]]) -> ChatAnswer:
        """Request a reply with greedy decoding, if the server supports it.

        Args:
            messages: The chat.

        Raises:
            DataError: The request has no answer. The message names the frame.
        """
        told = [{**message, "content": [_told(part) for part in message["content"]]} for message in messages]
        try:
            reply = self.endpoint.complete(told, 0.0, 1.0, REPLY_TOKENS)
        except DataError as error:
            raise DataError(f"frame {self.frame} ({self.frame / self.fps:g} s): {error}") from error
        return ChatAnswer(reply.text, cut=reply.cut)


def _told(part: dict[str, Any]) -> dict[str, Any]:
    return (
        part
        if part["type"] == "text"
        else {"type": "image_url", "image_url": {"url": openai_picture_url(part["image"])}}
    )


def openai_picture_url(picture: np.ndarray) -> str:
    """Encode a picture, (H, W, 3) uint8, as a JPEG data URL."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def open_openai_endpoint(ckpt: str, name: str, data: Dataset, asked: PredictorOptions) -> Predictor:
    """Open a model behind an endpoint as a predictor.

    Args:
        ckpt: The ``--ckpt`` argument, as the name of the predictor.
        name: Name of the model at the endpoint.
        data: The dataset.
        asked: Settings of the replay, with the endpoint's address.

    Raises:
        UserError: A setting has no effect on such a model.
    """
    asked.refuse(ckpt, "a model behind an endpoint exposes no context and no thresholds")
    assert asked.endpoint is not None
    endpoint = Endpoint(asked.endpoint, name, asked.key_variable, asked.timeout_s, options=asked.request_options)
    options = f" {dump_json(dict(sorted(asked.request_options.items())))}" if asked.request_options else ""
    digest = f"{asked.endpoint} {name}{asked.frames_digest()}{options}"
    shown = asked.frames_shown or FRAMES_SHOWN
    pictures = FrameFormat(LONGEST_SIDE, "whole")
    knobs = Knobs(protocol=asked.protocol)
    return make_any_stream_predictor(
        ckpt, digest, lambda: EndpointStream(endpoint, shown), data, pictures, knobs, at_once=asked.streams
    )
