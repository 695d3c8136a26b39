"""The chat of a stream. It only grows, except when a block of the oldest pictures is removed.

A server with a prefix cache computes only what follows the longest known beginning of a request.
Between two removals each chat begins with the chat before, so a request costs one new frame.
"""

from __future__ import annotations

from typing import Any

from prospect_eval.models.chat_encoding import SILENT, ChatEncoding

#: text in place of removed pictures
NOT_SHOWN = "(frames that are not shown any more)"
#: content of a chat message: {"type": "text", "text": str} or
#: {"type": "image", "image": picture, "seconds": float}
Content = list[dict[str, Any]]


def chat_text_content(words: str) -> dict[str, Any]:
    """Return a text as content of a chat message."""
    return {"type": "text", "text": words}


class ChatHistory:
    """System prompt, frames and dialogue of a stream. User and assistant turns alternate.

    Attributes:
        encoding: How frames and silent answers are written.
        frames_shown: Maximum number of pictures; None for no limit.
        frames_dropped: Number of oldest pictures that are removed together when there are more.
    """

    def __init__(
        self, instructions: str, encoding: ChatEncoding, frames_shown: int | None = None, frames_dropped: int = 1
    ) -> None:
        self.encoding = encoding
        self.frames_shown = frames_shown
        self.frames_dropped = frames_dropped
        self._turns: list[dict[str, Any]] = [{"role": "system", "content": [chat_text_content(instructions)]}]

    def add_frame(self, picture: Any, seconds: float, user_text: str | None = None) -> None:
        """Add a frame, after the user's words before it.

        Args:
            picture: The picture in the form that the model takes.
            seconds: Time of the picture in the video.
            user_text: The user's words since the frame before.
        """
        content = self._open_user_turn()
        if user_text:
            content.append(chat_text_content(f'The user says: "{user_text}"'))
        content.append({"type": "image", "image": picture, "seconds": seconds})
        self._remove_block()

    def add_answer(self, words: str) -> None:
        """Add the assistant's answer to the newest frame.

        Args:
            words: The words; empty for silence.
        """
        if words:
            self._turns.append({"role": "assistant", "content": [chat_text_content(words)]})
        elif self.encoding.silent_turns:
            self._turns.append({"role": "assistant", "content": [chat_text_content(SILENT)], "silent": True})

    def add_exchange(self, question: str, answer: str) -> None:
        """Add a question of a poll and its answer; an empty answer is silence."""
        self._open_user_turn().append(chat_text_content(question))
        self._turns.append({"role": "assistant", "content": [chat_text_content(answer or SILENT)]})

    def messages(self, question: str | None = None) -> list[dict[str, Any]]:
        """Return the chat in the form of chat templates, with the time of each picture.

        Args:
            question: A question to add at the end. The chat itself stays as it is.
        """
        out = [{"role": turn["role"], "content": self._with_times(turn["content"])} for turn in self._turns]
        if question is not None:
            asked = chat_text_content(question)
            if out[-1]["role"] == "user":
                out[-1]["content"].append(asked)
            else:
                out.append({"role": "user", "content": [asked]})
        return out

    def _open_user_turn(self) -> Content:
        if self._turns[-1]["role"] != "user":
            self._turns.append({"role": "user", "content": []})
        content: Content = self._turns[-1]["content"]
        return content

    def _remove_block(self) -> None:
        """Remove the oldest pictures if there are more than ``frames_shown``.

        The words of user and assistant stay. A turn that held only removed pictures becomes a note,
        or is removed with the silent answer to it.
        """
        images = [part for turn in self._turns for part in turn["content"] if part["type"] == "image"]
        if self.frames_shown is None or len(images) <= self.frames_shown:
            return
        removed = {id(part) for part in images[: min(self.frames_dropped, self.frames_shown)]}
        kept: list[dict[str, Any]] = []
        for turn in self._turns:
            if turn.get("silent") and kept[-1].get("emptied"):
                kept.pop()
                continue
            content = [part for part in turn["content"] if id(part) not in removed]
            if content:
                kept.append({**turn, "content": content})
            else:
                # templates require alternating turns, so a turn before an answer must stay
                kept.append({"role": "user", "content": [chat_text_content(NOT_SHOWN)], "emptied": True})
        for turn in kept:
            turn.pop("emptied", None)
        self._turns = kept

    def _with_times(self, content: Content) -> Content:
        out: Content = []
        for part in content:
            if part["type"] != "image":
                out.append(part)
                continue
            time = chat_text_content(self.encoding.frame_time(part["seconds"]))
            picture = {"type": "image", "image": part["image"]}
            out += [picture, time] if self.encoding.picture_first else [time, picture]
        return out
