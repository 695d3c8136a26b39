"""How the items of OVO-Bench read as questions: at polls, and as standing questions.

The wording is that of PROSPECT; the published prompts are longer. The form of the answers is the same: a letter (multiple
choice), one number (REC), Yes or No (SSR and CRR).
"""

from __future__ import annotations

from prospect_eval.suites.ovo_bench.annotations import (
    ChoiceItem,
    CountItem,
    CountPoll,
    ForwardItem,
    ForwardPoll,
    StepItem,
    StepPoll,
    gold_of_poll,
)

YES, NO = "Yes", "No"
#: reference utterance at the end of a step that no other step follows
STEP_END = "Done."


def ask_choice(item: ChoiceItem) -> str:
    """The question of a multiple-choice item, without its options."""
    return f"{item.question}\nAnswer with the letter of the right option alone."


def ask_forward_poll(item: ForwardItem, poll: ForwardPoll) -> str:
    """The question of a poll of a forward item."""
    if isinstance(item, CountItem):
        return (
            f"How often has this been done so far, by anyone in the video: {item.activity}? Count complete motions."
            " Answer with one number alone."
        )
    if isinstance(poll, StepPoll):
        return f"Is this step of a tutorial being done right now: {poll.step}? Answer with Yes or No alone."
    question = "" if isinstance(item, StepItem) else item.question
    return (
        "Has the video so far, its latest part above all, shown enough to answer this question? Answer with Yes or No"
        f" alone.\n{question}"
    )


def answer_forward_poll(poll: ForwardPoll) -> str:
    """The right answer to a poll."""
    gold = gold_of_poll(poll)
    if isinstance(poll, CountPoll):
        return str(gold)
    return YES if gold == 1 else NO


def ask_standing_question(item: ForwardItem) -> str:
    """The question of a forward item that stays open while the video goes on."""
    if isinstance(item, CountItem):
        return f"Each time this has been done once more, say how often it has been done so far: {item.activity}."
    if isinstance(item, StepItem):
        steps = "; ".join(item.all_steps)
        return (
            f"The video shows a tutorial ({item.tutorial}) with these steps: {steps}. Name each step when it begins, and"
            f' say "{STEP_END}" when a step ends and no other one begins.'
        )
    return f"{item.question} Answer as soon as the video shows it."
