"""ViSpeak-Bench's tests for a reply in time and for an option letter.

Source: ``src/count.py`` of HumanMLLM/ViSpeak-Bench at 16d7fc07569cf771860c434f12e169b6049799fa (Apache-2.0).

Quirks, which both functions keep:

* As published, the text score is always 0: the counter calls its LLM judge with a parameter that the LLM judge does not have, and
  the error is caught. Only the share of replies in time is usable, which is why no text score stands here.
* With one reference time in place of a span, the nearness test leaves the reply's time out: every later time is right,
  any time is right if the reference is at most 2 s, and the reference time itself is wrong.
* A reply is polled for until the end of the window, so the end of the polling reveals the window.
* "Because" reads B; "(b)" and "a" read nothing. "Best answer:" is not removed, so a text with it reads B.
"""

from __future__ import annotations

import re

#: seconds after the span that still count
MARGIN_S = 2.0
#: texts removed before the first letter is read; two more prefixes of the published list never match, as a comma is
#: missing between them and the next one
_PREFIXES = ("The best answer is", "The correct answer is", "The answer is", "The answer")


def is_vispeak_reply_in_time(time: float, reference: tuple[float, float] | float, margin: float = MARGIN_S) -> bool:
    """Whether the published test takes a reply for in time.

    Args:
        time: Time of the reply in seconds.
        reference: (start, end) of the reference reply in seconds, or one time.
        margin: Seconds after the end that still count.
    """
    if isinstance(reference, tuple):
        start, end = reference
        return max(0.0, start) <= time <= end + margin
    return time > reference or abs(reference) <= margin


def read_vispeak_letter(text: str) -> str:
    """The option letter A-E of an answer as published; an empty text where there is none."""
    for prefix in _PREFIXES:
        text = text.replace(prefix, "")
    found = re.search(r"[ABCDE]", text)
    return found[0] if found else ""
