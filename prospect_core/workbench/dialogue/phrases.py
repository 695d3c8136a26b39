"""Phrases of the workbench's dialogues: paraphrases by intent, some of them only in test splits.

``todo`` (``one``, ``two``) is a step's phrase (`Job.phrase`), ``name`` a thing, ``count`` a number
in words.
"""

from __future__ import annotations

import random

_UNITS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
          "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")  # fmt: skip
_TENS = {2: "twenty", 3: "thirty", 4: "forty"}

#: intent -> (paraphrases everywhere, paraphrases in the test splits only)
PHRASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # the user
    "goal": (
        ("I want to {goal}.", "Help me to {goal}.", "Let us {goal}.", "Today I {goal}."),
        ("We are going to {goal}.", "My plan is to {goal}."),
    ),
    "ask_present": (
        ("What should I do now?", "What comes next?", "What now?", "And then?"),
        ("What is the next thing to do?", "Which step is up now?"),
    ),
    "ask_done": (
        ("Did I already {todo}?", "Have I done this: {todo}?", "Is this done: {todo}?"),
        ("I forgot, did I {todo}?", "Tell me, was this done: {todo}?"),
    ),
    "ask_first": (
        ("Which did I do first: {one}, or {two}?", "What came first: {one}, or {two}?"),
        ("Which of these was earlier: {one}, or {two}?",),
    ),
    "ask_left": (
        ("How many steps are left?", "How much is left to do?", "How many are left?"),
        ("How many steps do I still have to do?",),
    ),
    "tell_start": (("I start to {todo}.", "Now I {todo}."), ()),
    "tell_complete": (("I have done it: {todo}.", "Done: {todo}."), ()),
    "tell_reopen": (("I undo it: {todo}.", "Not done after all: {todo}."), ()),
    "thanks": (("Thank you.", "Thanks for the help."), ("That was kind of you.",)),
    "sigh": (("This takes long.", "Am I doing well?"), ("This is tiring.",)),
    # the assistant
    "first": (
        ("Start with this: {todo}.", "First, {todo}.", "Let us begin: {todo}."),
        ("Begin with this: {todo}.",),
    ),
    "next": (
        ("Good, next {todo}.", "Well done, now {todo}.", "Fine, then {todo}.", "That is done, now {todo}."),
        ("Very good, now {todo}.",),
    ),
    "finished": (
        ("Great, everything is done.", "Well done, that was the last step."),
        ("Good work, all steps are done.",),
    ),
    "remind": (("It is time to {todo}.", "Go on and {todo}."), ("Do not forget to {todo}.",)),
    "wrong_thing": (
        ("Stop, leave the {name} where it is.", "The {name} is not needed.", "Not the {name}, put it back."),
        ("You do not need the {name}.",),
    ),
    "wrong_place": (
        ("No, not the {wrong}, {todo}.", "That is the {wrong}, please {todo}."),
        ("Wrong place, not the {wrong}, {todo}.",),
    ),
    "reopened": (
        ("That was done already, {todo} again.", "You undid it, so {todo} again."),
        ("It has to be done again: {todo}.",),
    ),
    "aside": (
        ("You have only begun to {todo}.", "Remember to finish this: {todo}."),
        ("This is only half done: {todo}.",),
    ),
    "answer_next": (("Now {todo}.", "Please {todo}.", "The next step is: {todo}."), ("You should {todo}.",)),
    "answer_yes": (("Yes, that is done.", "Yes, you did."), ("Yes, it is done.",)),
    "answer_no": (("No, not yet.", "No, that is still to do."), ("No, that comes later.",)),
    "answer_first": (("First the {name}.", "The {name} came first."), ("The {name} was earlier.",)),
    "answer_left": (("{count} left.", "{count} more to do.", "Still {count} to do."), ("You have {count} left.",)),
    "welcome": (("You are welcome.", "With pleasure."), ("Any time.",)),
    "praise": (("You are doing well, {count} done.", "Good work, {count} done so far."), ("Nice, {count} are done.",)),
}


def draw_phrase(rng: random.Random, intent: str, unseen: bool, **words: str) -> str:
    """Draw a paraphrase of an intent and fill in its words.

    Args:
        rng: Random generator.
        intent: A key of `PHRASES`.
        unseen: Whether held-out paraphrases may be drawn too.
        **words: Values of the placeholders.
    """
    seen, held_out = PHRASES[intent]
    text = rng.choice(seen + held_out if unseen else seen).format(**words)
    return text[0].upper() + text[1:]


def number_phrase(count: int) -> str:
    """Return a number below 50 in words; 0 is ``none``."""
    if count < len(_UNITS):
        return _UNITS[count]
    tens = _TENS[count // 10]
    return f"{tens}-{_UNITS[count % 10]}" if count % 10 else tens
