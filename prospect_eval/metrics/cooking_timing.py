"""Timing scores of Qualcomm Interactive Cooking, from the labels of the reference turns.

Source: Bhattacharyya et al., "Can Multi-Modal LLMs Provide Live Step-by-Step Task Guidance?"
(NeurIPS 2025, arXiv 2511.21998), section 5.1.

Stated in the paper:

- *Instruction completion accuracy* is the share of instructions whose completion the model detects
  inside a window of 30 s, centered on the annotated time of completion.
- *Mistake* precision, recall and F1 use the same window. A detected mistake in the window of an
  annotated one is a true positive, one in no such window a false positive, an annotated mistake
  without detection a false negative.

Our reading, where the paper is silent:

- The window reaches 15 s to either side, its ends included. Pairs are one to one, as many as
  possible.
- The annotated completions are the turns with the label ``feedback_action_aligned_success``. The
  annotated mistakes are the turns with a label ``feedback_action_..._mistake_...``.
- The kinds of a predicted utterance follow from its words. The first of three rules that applies
  decides. (1) It has those of the nearest reference turn with equal words. (2) A prefix
  ``Success:``, ``Feedback:`` (a mistake) or ``Instruction:``, as in public predictions, names its
  kind. (3) It has those of the most similar reference turn, if their cosine is above that of a
  correct pair (0.5). Other utterances have no kind.
- ``interactive_cooking_f1`` counts completions and mistakes together. The paper has no such summary.
- In a record without any utterance, completed steps count as detected completions and predicted
  mistakes as detected mistakes.

Left out: the paper counts a completion or a mistake only while the model's last instruction is the
annotated one. It does not state how instructions are compared. Completion accuracy is therefore at
least as high as with that rule, and no value equals a published one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from prospect_eval.matching.matcher import match_events
from prospect_eval.matching.settings import STANDARD, MatchSettings
from prospect_eval.metrics.base import Metric, Scored, f1, precision, recall
from prospect_eval.metrics.families import PROCEDURES
from prospect_eval.metrics.scored import best_scored_wording_similarity, list_scored_turn_labels

WINDOW_S = 30
SUCCESS, MISTAKE, INSTRUCTION = "success", "mistake", "instruction"
NO_SUCCESS = "no reference turn with a label of Interactive Cooking's successes"
NO_LABELS = "no reference turn with a feedback label of Interactive Cooking"
_PREFIX = re.compile(r"(?<!\w)(instruction|success|feedback):", re.IGNORECASE)
_KIND_OF_PREFIX = {"instruction": INSTRUCTION, "success": SUCCESS, "feedback": MISTAKE}
#: cosines closer than this count as equal
_TIE = 1e-6


def find_cooking_kinds(labels: Iterable[str]) -> frozenset[str]:
    """Return the kinds of a turn by its labels: the benchmark's output types.

    Args:
        labels: Labels such as ``feedback_action_aligned_success``.
    """
    kinds = set()
    for label in labels:
        if label == "instruction":
            kinds.add(INSTRUCTION)
        elif label == "feedback_action_aligned_success":
            kinds.add(SUCCESS)
        elif label.startswith("feedback_action") and "_mistake" in label:
            kinds.add(MISTAKE)
    return frozenset(kinds)


def _reference_kinds(scored: Scored) -> list[frozenset[str]]:
    return scored.once(
        "cooking reference kinds", lambda: [find_cooking_kinds(list_scored_turn_labels(turn)) for turn in scored.turns]
    )


def classify_cooking_utterances(scored: Scored) -> list[frozenset[str]]:
    """Return the kinds of each predicted utterance, by the rule of this module."""
    kinds, frames = _reference_kinds(scored), np.array([frame for frame, _ in scored.references])
    turns_by_words: dict[str, list[int]] = {}
    for turn, wordings in enumerate(scored.wordings):
        for words in {wording.strip() for wording in wordings}:
            turns_by_words.setdefault(words, []).append(turn)
    likeness = _likeness(scored)
    out = []
    for (frame, text), cosines in zip(scored.predictions, likeness, strict=True):
        equal = turns_by_words.get(text.strip(), [])
        prefixes = _PREFIX.findall(text)
        if equal:
            out.append(kinds[min(equal, key=lambda k: abs(int(frames[k]) - frame))])
        elif prefixes:
            out.append(frozenset(_KIND_OF_PREFIX[prefix.lower()] for prefix in prefixes))
        elif len(cosines) and scored.is_good(float(cosines.max())):
            best = np.flatnonzero(cosines >= cosines.max() - _TIE)
            out.append(kinds[int(best[np.abs(frames[best] - frame).argmin()])])
        else:
            out.append(frozenset())
    return out


def _likeness(scored: Scored) -> np.ndarray:
    """Return the (P, R) absolute cosines of predicted and reference utterances."""
    texts, references = [text for _, text in scored.predictions], [text for _, text in scored.references]
    if not texts or not references:
        return np.zeros((len(texts), len(references)))
    unique = sorted(set(texts))
    similarity = best_scored_wording_similarity(scored.resources.similarity, scored.wordings)
    cosines = np.abs(np.asarray(similarity(unique, references), dtype=float))
    row_of = {text: row for row, text in enumerate(unique)}
    return np.asarray(cosines[[row_of[text] for text in texts]])


def _detected(scored: Scored, kind: str) -> list[int]:
    """Return the frames on which the model detects a completion or a mistake."""
    record = scored.record
    if record.utterances:
        found = scored.once("cooking kinds", lambda: classify_cooking_utterances(scored))
        return [frame for (frame, _), kinds in zip(scored.predictions, found, strict=True) if kind in kinds]
    if kind == MISTAKE:
        return sorted({mistake.frame for mistake in record.mistakes})
    return sorted({item.frame for item in record.transitions if item.change == "complete"})


def _window_counts(scored: Scored, kind: str) -> np.ndarray:
    """Count (pairs, detected, annotated) events of a kind, at most half a window apart."""
    pairs = zip(scored.references, _reference_kinds(scored), strict=True)
    annotated = [frame for (frame, _), kinds in pairs if kind in kinds]
    detected = _detected(scored, kind)
    hits = match_events(detected, annotated, WINDOW_S / 2 * scored.fps)
    return np.array([len(hits), len(detected), len(annotated)])


def cooking_completion_counts(scored: Scored) -> np.ndarray | str:
    """Count (pairs, detected, annotated) completions of instructions."""
    if not any(SUCCESS in kinds for kinds in _reference_kinds(scored)):
        return NO_SUCCESS
    return _window_counts(scored, SUCCESS)


def cooking_mistake_counts(scored: Scored) -> np.ndarray | str:
    """Count (pairs, detected, annotated) mistakes; undefined without any labeled feedback."""
    if not any(kinds & {SUCCESS, MISTAKE} for kinds in _reference_kinds(scored)):
        return NO_LABELS
    return _window_counts(scored, MISTAKE)


def cooking_event_counts(scored: Scored) -> np.ndarray | str:
    """Count (pairs, detected, annotated) completions and mistakes, each paired within its kind."""
    if not any(kinds & {SUCCESS, MISTAKE} for kinds in _reference_kinds(scored)):
        return NO_LABELS
    return np.asarray(_window_counts(scored, SUCCESS) + _window_counts(scored, MISTAKE))


def cooking_timing_metrics(similarity_signature: str, match: MatchSettings = STANDARD.match) -> list[Metric]:
    """Return the metrics of this module.

    Args:
        similarity_signature: Name and digest of the similarity model.
        match: Parameters of the matching.
    """
    signature = {
        "match": "one-to-one",
        "window": f"{WINDOW_S}s centered",
        "sim": similarity_signature,
        "good": f"{match.good_similarity:g}",
    }
    window = f"within {WINDOW_S // 2} s of its time (Interactive Cooking's window of {WINDOW_S} s)"
    together = Metric(
        "interactive_cooking_f1",
        cooking_event_counts,
        f1,
        signature,
        family=PROCEDURES,
        definition="F1 of detected completions and mistakes, paired one to one with an annotated event of the same"
        f" kind {window}.",
        failure_mode="Completions are more frequent than mistakes and count most; the window is as long as many steps. The"
        " paper has no such summary.",
        companion="interactive_cooking_mistake_f1",
    )
    completion = Metric(
        "interactive_cooking_completion_accuracy",
        cooking_completion_counts,
        recall,
        signature,
        family=PROCEDURES,
        definition=f"Share of the completed instructions whose completion the model detects {window}.",
        failure_mode="Reporting a completion every few seconds scores 1. Unlike in the paper, the model's last instruction is"
        " not compared.",
        companion="interactive_cooking_mistake_f1",
    )
    definitions = {
        "f1": (f1, "F1 of detected mistakes, paired one to one with an annotated mistake {}.", "Ignores the words;"
               " the window is as long as many steps."),
        "precision": (precision, "Share of the detected mistakes paired with an annotated mistake {}.",
                      "A single sure alarm scores 1."),
        "recall": (recall, "Share of the annotated mistakes that the model detects {}.",
                   "An alarm every few seconds scores 1."),
    }  # fmt: skip
    mistakes = [
        Metric(
            f"interactive_cooking_mistake_{name}",
            cooking_mistake_counts,
            formula,
            signature,
            family=PROCEDURES,
            definition=definition.format(window),
            failure_mode=failure,
        )
        for name, (formula, definition, failure) in definitions.items()
    ]
    return [together, completion, *mistakes]
