"""Find who speaks in subtitles, by voice tags and by labels before the words.

A voice is the name in ``<v NAME>``, or a label at the start of a line: ``[NAME]:``, ``(NAME):``,
``SPEAKER_01:``, or ``NAME:`` with a known name. ``User`` and ``Assistant`` are known; options add
names. Rules:

* A cue without a voice belongs to the assistant.
* If options name only users (or only assistants), every other voice belongs to the other side.
  Otherwise an unknown voice is refused.
* An unknown label such as ``Note:`` is part of the words.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from prospect_core.data.formats.subtitles import Cue, Voiced

Kind = Literal["user", "assistant"]
_BRACKETED = re.compile(r"(?:>>\s*)?(?:\[([^\[\]]{1,60})\]|\(([^()]{1,60})\))\s*[::]\s*(.*)")
_NUMBERED = re.compile(r"(?:>>\s*)?(speaker[ _-]?\w{1,3})\s*[::]\s*(.*)", re.I)
_NAMED = re.compile(r"(?:>>\s*)?([^\W\d_][\w .'-]{0,40}?)\s*[::]\s*(.*)")


@dataclass
class Speakers:
    """Names of the two sides.

    Attributes:
        users: Names of the user's voices.
        assistants: Names of the assistant's voices.
        labels: Counts of unknown labels that were read as words.
    """

    users: tuple[str, ...] = ()
    assistants: tuple[str, ...] = ()
    labels: Counter[str] = field(default_factory=Counter)

    def kind(self, voice: str) -> Kind | None:
        """Return the side of a known name; None for an unknown one."""
        name = voice.strip().casefold()
        users, assistants = (tuple(map(str.casefold, names)) for names in (self.users, self.assistants))
        if name in users or (name == "user" and name not in assistants):
            return "user"
        if name in assistants or name == "assistant":
            return "assistant"
        return None

    def side(self, voice: str) -> Kind:
        """Return the side of a voice by the rules for known and unknown names.

        Raises:
            ValueError: If no rule applies to the name.
        """
        known = self.kind(voice)
        if known is not None:
            return known
        if bool(self.users) != bool(self.assistants):
            return "assistant" if self.users else "user"
        raise ValueError(f"voice {voice!r} is unknown; assign it with --user {voice!r} or --assistant {voice!r}")

    def turns(self, cue: Cue) -> list[tuple[Kind, str]]:
        """Return (side, words) of each turn of a cue, in order.

        Raises:
            ValueError: If a voice is unknown, or a label has no words.
        """
        turns: list[tuple[Kind, list[str]]] = []
        for voiced in cue.said:
            for side, words in self._lines(voiced):
                if not turns or turns[-1][0] != side or (words and not turns[-1][1]):
                    turns.append((side, []))
                turns[-1][1].extend([words] if words else [])
        said = [(side, " ".join(words)) for side, words in turns if words]
        if not said:
            raise ValueError("names a speaker but has no text")
        return said

    def _lines(self, voiced: Voiced) -> list[tuple[Kind, str]]:
        """Return each line with its side; a line without a label has the side of the line before."""
        side: Kind = self.side(voiced.voice) if voiced.voice else "assistant"
        out: list[tuple[Kind, str]] = []
        for line in voiced.lines:
            voice, words = self._label(line)
            side = self.side(voice) if voice else side
            out.append((side, words))
        return out

    def _label(self, line: str) -> tuple[str, str]:
        """Return (name of the speaker or empty, words) of a line."""
        if found := _BRACKETED.fullmatch(line):
            return (found[1] or found[2]).strip(), found[3]
        if found := _NUMBERED.fullmatch(line):
            return found[1], found[2]
        if found := _NAMED.fullmatch(line):
            if self.kind(found[1]) is not None:
                return found[1], found[2]
            if found[2] and found[1][0].isupper():
                self.labels[found[1]] += 1
        return "", line
