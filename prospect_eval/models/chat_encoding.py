"""Encodings of a stream as a chat, one for each family of models with its own chat template.

The text of a template decides what a server can reuse from the request before. Templates of Qwen-VL
and SmolVLM2 keep the order of texts and pictures. Templates of LLaVA-OneVision and InternVL move the
pictures of a message to its beginning, so a message must hold one picture only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from prospect_core.util.errors import require_choice

#: silence of a chat model
SILENT = "SILENT"


@dataclass(frozen=True)
class ChatEncoding:
    """How frames and silent answers are written into a chat.

    Attributes:
        name: Name of the encoding.
        models: Regular expression of model names that use it, without case; empty for none.
        picture_first: Whether the time of a picture follows the picture; otherwise it precedes it.
        silent_turns: Whether each silent answer is an assistant turn `SILENT`. Otherwise frames
            without an answer share one user turn.
    """

    name: str
    models: str = ""
    picture_first: bool = False
    silent_turns: bool = False

    def frame_time(self, seconds: float) -> str:
        """Return the text that gives the time of a picture.

        Args:
            seconds: Time of the picture in the video.
        """
        minutes, rest = divmod(int(seconds), 60)
        clock = f"{minutes:02d}:{rest:02d}"
        # the wording of SmolVLM2's video prompts
        return f"\n(Frame from {clock})" if self.picture_first else f"\nFrame from {clock}:"


#: for models without an entry: one turn for each frame, which every template keeps in order
GENERIC_ENCODING = ChatEncoding("generic", silent_turns=True)
CHAT_ENCODINGS = {
    encoding.name: encoding
    for encoding in (
        ChatEncoding("smolvlm2", r"smolvlm|idefics-?3"),
        ChatEncoding("qwen_vl", r"qwen.*vl|qwen.*omni"),
        ChatEncoding("llava_onevision", r"llava", picture_first=True, silent_turns=True),
        ChatEncoding("internvl", r"internvl", picture_first=True, silent_turns=True),
        GENERIC_ENCODING,
    )
}


def find_chat_encoding(model: str, asked: str | None = None) -> ChatEncoding:
    """Return the encoding for a model.

    Args:
        model: Name of the model.
        asked: Name of an encoding; None to choose by the name of the model.

    Raises:
        UserError: The encoding is unknown.
    """
    if asked is not None:
        return CHAT_ENCODINGS[require_choice("--chat-encoding", asked, CHAT_ENCODINGS)]
    fitting = (one for one in CHAT_ENCODINGS.values() if one.models and re.search(one.models, model, re.IGNORECASE))
    return next(fitting, GENERIC_ENCODING)
