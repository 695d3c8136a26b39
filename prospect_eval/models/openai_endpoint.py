"""A vision chat model behind an OpenAI-compatible endpoint, as a stream.

    prospect-eval run --ckpt endpoint:my-model --endpoint http://127.0.0.1:8000/v1 --data my-videos --streams 64

Each frame is one request, which begins with the request before (`chat_history`), so that a server
with a prefix cache computes one frame. The extra ``endpoint`` is needed. Pictures and dialogue are
sent only to the given address.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.records import Knobs, ServerUsage
from prospect_core.timeline import Episode
from prospect_core.util.console import print_line
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.json_io import dump_json
from prospect_eval.models.any_stream import make_any_stream_predictor
from prospect_eval.models.base import PictureType, Prediction, Predictor, PredictorOptions
from prospect_eval.models.chat import ChatAnswer, ChatStream, read_chat_answer
from prospect_eval.models.chat_client import Endpoint
from prospect_eval.models.chat_encoding import GENERIC_ENCODING, SILENT, ChatEncoding, find_chat_encoding
from prospect_eval.models.chat_history import chat_text_content
from prospect_eval.models.chat_reply import Reply
from prospect_eval.models.silence_probability import silence_probability
from prospect_eval.text.response_store import RESPONSES, PictureUrl, ResponseStore

#: maximum number of pictures in a request, their longest side in pixels, maximum number of tokens
#: of a reply
FRAMES_SHOWN, LONGEST_SIDE, REPLY_TOKENS = 32, 384, 128
#: asks for words if the probability of speaking reaches the threshold but the reply is silence
INSISTS = f"Something is due now. Answer with the words to say, not with {SILENT}."


@dataclass(frozen=True)
class EndpointSettings:
    """How a stream uses its endpoint.

    Attributes:
        frames_shown: Maximum number of pictures in a request.
        frames_dropped: Number of oldest pictures that are removed together.
        encoding: How frames and silent answers are written into the chat.
        picture_type: File format of the pictures.
        threshold: Speaking threshold, 0..1; None if the model's own answers decide.
    """

    frames_shown: int = FRAMES_SHOWN
    frames_dropped: int = FRAMES_SHOWN // 2
    encoding: ChatEncoding = GENERIC_ENCODING
    picture_type: PictureType = "jpeg"
    threshold: float | None = None

    @staticmethod
    def of(name: str, asked: PredictorOptions) -> EndpointSettings:
        """Return the settings for a model.

        Args:
            name: Name of the model.
            asked: Settings of the replay.

        Raises:
            UserError: A setting is invalid.
        """
        shown = asked.frames_shown or FRAMES_SHOWN
        dropped = asked.frames_dropped or max(1, shown // 2)
        if dropped > shown:
            raise UserError(
                f"--frames-dropped {dropped}: more than the {shown} frames shown; give a number from 1 to {shown}"
            )
        encoding = find_chat_encoding(name, asked.chat_encoding)
        return EndpointSettings(shown, dropped, encoding, asked.picture_type, asked.speaking_threshold)


class EndpointStream(ChatStream):
    """One stream to an endpoint. Several streams can share the endpoint.

    Attributes:
        endpoint: The endpoint.
        settings: How the stream uses it.
        server_usage: Requests and tokens of the stream, over all calls of `reset`.
    """

    def __init__(self, endpoint: Endpoint, settings: EndpointSettings | None = None) -> None:
        self.settings = settings or EndpointSettings()
        super().__init__(self.settings.frames_shown, self.settings.frames_dropped, self.settings.encoding)
        self.endpoint = endpoint
        self.server_usage = ServerUsage()

    def encode_picture(self, frame: np.ndarray) -> PictureUrl:
        """Return a picture, (H, W, 3) uint8, as a data URL."""
        return encode_openai_picture(frame, self.settings.picture_type)

    def answer(self, messages: list[dict[str, Any]]) -> ChatAnswer:
        """Request a reply with greedy decoding, and apply the speaking threshold if there is one.

        The reply is silence below the threshold. If the reply is silence although the threshold is
        reached, the model is asked once more for words.

        Args:
            messages: The chat.

        Raises:
            DataError: The request has no answer. The message names the frame.
            UserError: A threshold is set, and the server sends no log-probabilities.
        """
        reply = self._request(messages)
        silence = silence_probability(reply.tokens, SILENT)
        speaking = None if silence is None else 1.0 - silence
        answer = _chat_answer(reply, speaking)
        threshold = self.settings.threshold
        if threshold is None:
            return answer
        if speaking is None:
            raise self._no_probability()
        if speaking < threshold:
            return replace(answer, text=SILENT, cut=False)
        if any(read_chat_answer(reply.text)):
            return answer
        insisting = {**messages[-1], "content": [*messages[-1]["content"], chat_text_content(INSISTS)]}
        second = self._request([*messages[:-1], insisting], probabilities=False)
        return replace(answer, text=second.text, cut=second.cut, tokens=second.usage.completion_tokens or 0)

    def answer_question(self, messages: list[dict[str, Any]]) -> ChatAnswer:
        """Return the answer to a question. The speaking threshold does not apply.

        Args:
            messages: A chat that ends with the question.

        Raises:
            DataError: The request has no answer.
        """
        return _chat_answer(self._request(messages, probabilities=False), None)

    def _request(self, messages: list[dict[str, Any]], probabilities: bool = True) -> Reply:
        sent = [{**message, "content": [_sent_part(part) for part in message["content"]]} for message in messages]
        try:
            reply = self.endpoint.complete_greedily(sent, REPLY_TOKENS, probabilities)
        except DataError as error:
            raise DataError(f"frame {self.frame} ({self.frame / self.fps:g} s): {error}") from error
        used = reply.usage
        self.server_usage += ServerUsage(
            requests=int(not reply.reused),
            reused=int(reply.reused),
            retries=0 if reply.reused else reply.retries,
            prompt_tokens=used.prompt_tokens or 0,
            cached_tokens=used.cached_tokens or 0,
            completion_tokens=used.completion_tokens or 0,
            cost=used.cost or 0.0,
        )
        return reply

    def _no_probability(self) -> UserError:
        what = f"{self.endpoint.url}: sends no log-probabilities of {self.endpoint.model!r}"
        if not self.endpoint.sends_probabilities:
            return UserError(f"{what}; remove --speaking-threshold, so that the model's own answers decide")
        return DataError(f"frame {self.frame} ({self.frame / self.fps:g} s): {what} with this reply")


def _chat_answer(reply: Reply, speaking: float | None) -> ChatAnswer:
    used = reply.usage
    return ChatAnswer(reply.text, speaking, used.prompt_tokens, used.completion_tokens or 0, reply.cut)


def _sent_part(part: dict[str, Any]) -> dict[str, Any]:
    return part if part["type"] == "text" else {"type": "image_url", "image_url": {"url": part["image"]}}


def encode_openai_picture(picture: np.ndarray, picture_type: PictureType = "jpeg") -> PictureUrl:
    """Encode a picture as a data URL.

    Args:
        picture: (H, W, 3) uint8 picture.
        picture_type: ``jpeg`` with quality 90, or ``png`` without loss.
    """
    from PIL import Image

    buffer = io.BytesIO()
    further: dict[str, int] = {"quality": 90} if picture_type == "jpeg" else {}
    Image.fromarray(picture).save(buffer, picture_type.upper(), **further)
    return PictureUrl(f"data:image/{picture_type};base64," + base64.b64encode(buffer.getvalue()).decode())


def open_openai_endpoint(ckpt: str, name: str, data: Dataset, asked: PredictorOptions) -> Predictor:
    """Open a model behind an endpoint as a predictor.

    Args:
        ckpt: The ``--ckpt`` argument, as the name of the predictor.
        name: Name of the model at the endpoint.
        data: The dataset.
        asked: Settings of the replay, with the endpoint's address.

    Raises:
        UserError: A setting has no effect on such a model, or is invalid.
    """
    asked.refuse(ckpt, "a model behind an endpoint manages no context and runs elsewhere", thresholds=True)
    assert asked.endpoint is not None
    settings = EndpointSettings.of(name, asked)
    endpoint = Endpoint(
        asked.endpoint, name, asked.key_variable, asked.timeout_s, options=asked.request_options, most=asked.streams
    )
    side = asked.picture_size or LONGEST_SIDE
    knobs = Knobs(protocol=asked.protocol)
    if settings.threshold is not None:
        knobs = replace(knobs, speaking_threshold=settings.threshold)
    stored = asked.response_folder
    predictor = make_any_stream_predictor(
        ckpt,
        _digest(name, asked, settings, side),
        lambda: EndpointStream(endpoint, settings),
        data,
        FrameFormat(side, "whole"),
        knobs,
        at_once=asked.streams,
    )

    def predict(episodes: Sequence[Episode]) -> Iterator[Prediction]:
        endpoint.store = None if stored is None else ResponseStore(stored / RESPONSES)
        predicted = False
        try:
            for episode, result in predictor.predict(episodes):
                predicted = predicted or not isinstance(result, DataError)
                yield episode, result
        finally:
            if endpoint.store is not None:
                endpoint.store.close()
        if predicted and not endpoint.sends_probabilities:
            print_line(
                f"note: {asked.endpoint} sends no log-probabilities; the speaking probability is unknown", err=True
            )

    def use_folder(folder: Path) -> None:
        nonlocal stored
        stored = stored or folder

    source = "the model's own answers" if settings.threshold is None else "the command line"
    return replace(predictor, predict=predict, thresholds_from=source, use_folder=use_folder)


def _digest(name: str, asked: PredictorOptions, settings: EndpointSettings, side: int) -> str:
    """Return what identifies the model and its prompt; the threshold is part of the knobs."""
    chat = f"{settings.encoding.name} chat, at most {settings.frames_shown} frames shown, {settings.frames_dropped} dropped"
    pictures = f"{side} px {settings.picture_type}"
    options = f", {dump_json(dict(sorted(asked.request_options.items())))}" if asked.request_options else ""
    return f"{asked.endpoint} {name}: {chat}, {pictures}{options}"
