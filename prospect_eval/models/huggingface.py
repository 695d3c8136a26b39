"""A Hugging Face image-text model as a stream: it re-reads its whole history at every decision.

    prospect-eval run --ckpt hf:HuggingFaceTB/SmolVLM2-256M-Video-Instruct --data my-videos --limit 1

It supports any model with a chat template that ``AutoModelForImageTextToText`` and
``AutoProcessor`` load. The requirements of its processor must be installed; the extra ``hf`` has
those of SmolVLM2. Nothing is cached between frames, so the cost grows faster than the length of the
video. The model is the slow reference for streaming models.
"""

from __future__ import annotations

import hashlib
import socket
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from PIL import Image

from prospect_core.checkpoints.folders import choose_checkpoint_folder_dtype, require_one_checkpoint_weight_set
from prospect_core.data.dataset import Dataset
from prospect_core.data.frame_format import FrameFormat
from prospect_core.records import Dtype, Knobs
from prospect_core.util.errors import DataError, UserError
from prospect_eval.models.any_stream import make_any_stream_predictor
from prospect_eval.models.base import Predictor, PredictorOptions
from prospect_eval.models.chat import ChatAnswer, ChatStream
from prospect_eval.models.chat_encoding import SILENT
from prospect_eval.models.chat_reply import strip_chat_reply_thinking

#: seconds to wait for the hub
KNOCK_S = 5
#: maximum number of tokens of a reply; longest side of a picture in pixels if the model has no size
REPLY_TOKENS, LONGEST_SIDE = 128, 384


class RereadingStream(ChatStream):
    """A chat stream that computes the probability of silence and speaks above a threshold.

    It speaks if the probability of an answer other than `SILENT` is at least ``threshold``.

    Attributes:
        model: The image-text model.
        processor: Its processor.
        threshold: Speaking threshold, 0..1.
        ends: Tokens that end a reply.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        threshold: float = 0.5,
        frames_shown: int | None = None,
        frames_dropped: int = 1,
    ) -> None:
        super().__init__(frames_shown, frames_dropped)
        self.model, self.processor, self.threshold = model, processor, threshold
        #: tokens that end a reply
        self.ends = huggingface_end_tokens(model, processor.tokenizer)

    @torch.no_grad()
    def answer(self, messages: list[dict[str, Any]]) -> ChatAnswer:
        """Compute the probability of silence, and decode a reply greedily if the model speaks.

        Args:
            messages: The chat.

        Raises:
            DataError: The chat is longer than the model's positions, or thinking used up the
                reply's tokens.
        """
        inputs, silence = self._inputs(messages)
        context = inputs["input_ids"].shape[1]
        self._require_room(context)
        speaking = 1.0 - self._probability(inputs, silence)
        if speaking < self.threshold:
            return ChatAnswer(SILENT, speaking, context)
        written = self.model.generate(
            **inputs, max_new_tokens=REPLY_TOKENS, do_sample=False, bad_words_ids=[silence], eos_token_id=self.ends
        )[0, context:]
        said = self.processor.tokenizer.decode(written, skip_special_tokens=True)
        cut = len(written) == REPLY_TOKENS and int(written[-1]) not in self.ends
        said, thinking = strip_chat_reply_thinking(said)
        if thinking:
            raise DataError(
                f"frame {self.frame} ({self.frame / self.fps:g} s): the reply's {len(written)} tokens were used up by thinking"
            )
        return ChatAnswer(said, speaking, context, len(written), cut)

    def _probability(self, inputs: Any, word: list[int]) -> float:
        """Return the probability that these tokens come next."""
        tail_1T = torch.tensor([word], device=self.model.device)
        shape = inputs["input_ids"].shape
        # inputs with one value for each token, such as its modality, are 0 for text
        each = {k: v for k, v in inputs.items() if isinstance(v, torch.Tensor) and v.shape == shape}
        whole = {**inputs, **{k: torch.cat([v, torch.zeros_like(tail_1T)], 1) for k, v in each.items()}}
        whole["input_ids"] = torch.cat([inputs["input_ids"], tail_1T], 1)
        whole["attention_mask"] = torch.ones_like(whole["input_ids"])
        logits_TV = self.model(**whole, logits_to_keep=len(word) + 1).logits[0, :-1].float()
        return float(logits_TV.log_softmax(-1).gather(1, tail_1T.T).sum().exp())

    def _require_room(self, context: int) -> None:
        """Check that context and reply fit the model's positions.

        Raises:
            DataError: They do not fit.
        """
        text_config = self.model.config.get_text_config()
        most = getattr(text_config, "max_position_embeddings", None)
        if most is not None and context + REPLY_TOKENS > most:
            raise DataError(
                f"frame {self.frame} ({self.frame / self.fps:g} s): {context:,} tokens of context and up to {REPLY_TOKENS} of a"
                f" reply are more than the model's {most:,} positions; show fewer frames per request (--frames-shown) or"
                " replay shorter episodes"
            )

    def _inputs(self, messages: list[dict[str, Any]]) -> tuple[Any, list[int]]:
        """Return the model's inputs, and the tokens of silence that would follow them."""
        chat = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        images = [
            Image.fromarray(part["image"])
            for message in messages
            for part in message["content"]
            if part["type"] == "image"
        ]
        inputs = self.processor(text=[chat], images=[images], return_tensors="pt", add_special_tokens=False)
        # if the template does not end in white space, the answer starts with a blank
        word = SILENT if chat[-1:].isspace() else f" {SILENT}"
        silence: list[int] = self.processor.tokenizer(word, add_special_tokens=False).input_ids
        return inputs.to(self.model.device), silence


def load_huggingface_model(name: str, device: str, dtype: Dtype = "float32") -> tuple[Any, Any]:
    """Load a model and its processor from a folder or from the hub.

    Args:
        name: A folder or a name on the hub.
        device: A torch device.
        dtype: Data type of the weights.

    Returns:
        The model in evaluation mode, and its processor.

    Raises:
        DataError: The model cannot be loaded or has no chat template.
        UserError: A package is missing, or the name is invalid.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    require_reachable_huggingface(f"hf:{name}", name)
    if Path(name).is_dir():
        require_one_checkpoint_weight_set(Path(name), f"--ckpt hf:{name}")
    try:
        processor = AutoProcessor.from_pretrained(name)
        model: Any = AutoModelForImageTextToText.from_pretrained(
            name, use_safetensors=True, dtype=getattr(torch, dtype)
        )
    except ImportError as error:
        raise UserError(f"--ckpt hf:{name}: {_first_line(error)}; `pip install 'prospect-suite[hf]'`") from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(f"--ckpt hf:{name}: cannot be loaded ({_first_line(error)})") from error
    if not getattr(processor, "chat_template", None):
        raise DataError(f"--ckpt hf:{name}: its processor has no chat template; give an instruction-tuned model")
    _show_whole(processor)
    model.eval()
    return model.to(torch.device(device)), processor


def huggingface_end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return the tokens that end a reply, from the generation settings and the tokenizer."""
    stated = model.generation_config.eos_token_id
    ends = [*(stated if isinstance(stated, list) else [stated]), tokenizer.eos_token_id]
    # SmolVLM's and Idefics3's turns end with a token that not every tokenizer declares as its end
    ends.append(tokenizer.get_vocab().get("<end_of_utterance>"))
    return sorted({end for end in ends if end is not None})


def _show_whole(processor: Any) -> None:
    """Configure a tiling processor (SmolVLM, Idefics3) to show a frame as one tile, as published."""
    images = processor.image_processor
    if hasattr(images, "do_image_splitting"):
        images.do_image_splitting = False
        images.size = {"longest_edge": int(images.max_image_size["longest_edge"])}


def huggingface_frame_format(model: Any, processor: Any) -> FrameFormat:
    """Return the format of frames for a model.

    Args:
        model: The model.
        processor: Its processor.

    Returns:
        One squashed tile for a model that uses tiles, otherwise the whole frame in its own aspect
        ratio.
    """
    images = processor.image_processor
    if not hasattr(images, "do_image_splitting"):
        return FrameFormat(
            getattr(getattr(model.config, "vision_config", None), "image_size", None) or LONGEST_SIDE, "whole"
        )
    return FrameFormat(int(images.max_image_size["longest_edge"]), "squash")


def require_reachable_huggingface(ckpt: str, name: str) -> None:
    """Check that a model is a folder, is in the local cache, or that the hub is reachable.

    Without this check the hub's library retries for minutes.

    Args:
        ckpt: The ``--ckpt`` argument for the message.
        name: A folder or a name on the hub.

    Raises:
        UserError: The name is neither a folder nor a valid name on the hub.
        DataError: The model is not on this machine and the hub is not reachable.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if Path(name).is_dir():
        return
    try:
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return
    except HFValidationError as error:
        raise UserError(f"--ckpt {ckpt}: neither a folder nor a name on the hub ({_first_line(error)})") from error
    hub = urlsplit(constants.ENDPOINT)
    try:
        if constants.HF_HUB_OFFLINE:
            raise OSError("HF_HUB_OFFLINE is set")
        # with a proxy, the proxy resolves the host name
        if not getproxies().get(hub.scheme):
            socket.create_connection((hub.hostname or "", hub.port or 443), KNOCK_S).close()
    except OSError as error:
        why = f"{hub.hostname} cannot be reached ({error.strerror or error})"
        raise DataError(
            f"--ckpt {ckpt}: no such folder, not downloaded yet, and {why}; give a folder, or download the model first"
        ) from error


def open_huggingface_predictor(ckpt: str, name: str, data: Dataset, asked: PredictorOptions) -> Predictor:
    """Open a Hugging Face model as a predictor.

    Args:
        ckpt: The ``--ckpt`` argument, as the name of the predictor.
        name: A folder or a name on the hub.
        data: The dataset.
        asked: Settings of the replay. The speaking threshold defaults to 0.5.

    Raises:
        UserError: A setting has no effect on such a model.
        DataError: The model cannot be loaded.
    """
    asked.refuse(
        ckpt, "this model reads all frames again on each request and manages no context", thresholds=True, device=True
    )
    dtype = choose_checkpoint_folder_dtype(asked.device, asked.dtype)
    model, processor = load_huggingface_model(name, asked.device, dtype)
    threshold = 0.5 if asked.speaking_threshold is None else asked.speaking_threshold
    shape = huggingface_frame_format(model, processor)
    make = partial(RereadingStream, model, processor, threshold, asked.frames_shown, asked.frames_dropped or 1)
    return make_any_stream_predictor(
        ckpt, f"{digest_huggingface_weights(model)}{asked.frames_digest()}", make, data, shape,
        Knobs(speaking_threshold=threshold, dtype=dtype, protocol=asked.protocol),
    )  # fmt: skip


def digest_huggingface_weights(model: Any) -> str:
    """Return the first 32 hexadecimal digits of the sha256 over all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
