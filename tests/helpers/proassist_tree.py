"""ProAssist's tree in the layout of its scripts, over a few small videos.

`prepare_datasets.sh` writes three kinds of files for each number of tokens per picture:

* clips of at most 4096 tokens of train, val and test (with and without knowledge, all with
  summaries)
* summaries only, of train and val
* whole dialogues of val and test (without summaries)

The DST extension writes SUBSET/SPLIT.json from the generated dialogues.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prospect_core.data.formats.proassist_features import write_proassist_features
from prospect_core.data.video import write_video_frames_file

#: number of stored frames of each video
FRAMES = 60
#: by subset and split, a recording and its file of frames
SUBSETS = {
    "assembly101": {
        "train": ("assembly_nusar_a", "nusar_a"),
        "val": ("disassembly_nusar_b", "nusar_b"),
        "test": ("disassembly_nusar_c", "nusar_c"),
    },
    "wtag": {"train": ("T1", "T1"), "val": ("T2", "T2"), "test": ("T3", "T3")},
}
SUMMARY = "The user boiled the water."
ASK = {"role": "system", "content": "Please summarize the progress."}


@dataclass(frozen=True)
class Dialogue:
    """Origin of a row: subset, recording, its file of frames, the user and their number, tokens per picture."""

    subset: str
    video: str
    file: str
    user: str
    number: int
    tokens: int


def _meta(of: Dialogue, summary: str | None) -> dict[str, Any]:
    return {
        "user_type": of.user, "user_id": f"{of.user}_{of.number}", "task_goal": "tea", "knowledge": "Tea\n1. boil\n2. pour",
        "progress": summary, "add_knowledge": False, "has_summary": summary is not None, "summary_only": False,
        "quality": 8.5,
    }  # fmt: skip


def _row(of: Dialogue, clip: int, span: tuple[int, int], limit: int) -> dict[str, Any]:
    return {
        "dataset": of.subset, "video_uid": of.video, "clip_idx": clip, "frames_file": f"frames/{of.file}.arrow",
        "max_seq_len": limit, "seq_len": 99, "num_tokens_per_img": of.tokens, "use_img_sep_token": False,
        "start_frame_idx": span[0], "end_frame_idx": span[1], "conversation": [], "fps": 2,
    }  # fmt: skip


def _said(frame: int, role: str, text: str) -> dict[str, Any]:
    """Make a turn after the frames before ``frame``."""
    turn = {"role": role, "time": frame / 2 + 0.2, "content": text, "labels": "initiative|instruction"}
    return turn | ({"progress": SUMMARY} if role == "assistant" else {"labels": ""})


def whole(of: Dialogue) -> dict[str, Any]:
    """Make a whole dialogue (``L0``)."""
    row = _row(of, 0, (4, 50), 0)
    row["conversation"] = [
        {"role": "system", "content": "Be proactive."},
        {"role": "frames", "start": 4, "end": 10}, _said(10, "user", "I want tea."),
        {"role": "frames", "start": 10, "end": 11}, _said(11, "assistant", "Boil the water."),
        {"role": "frames", "start": 11, "end": 40}, _said(40, "assistant", "Pour it."),
        {"role": "frames", "start": 40, "end": 50}, _said(50, "assistant", "Well done."),
    ]  # fmt: skip
    return row | {"metadata": _meta(of, None)}


def clips(of: Dialogue) -> list[dict[str, Any]]:
    """Divide the dialogue in two clips (``L4096``) at an assistant turn.

    The first ends with one more frame and a summary, the second starts with context.
    """
    turns = whole(of)["conversation"]
    closing = {"role": "assistant", "content": SUMMARY}
    first = _row(of, 0, (4, 42), 4096)
    first["conversation"] = [*turns[:7], ASK, {"role": "frames", "start": 41, "end": 42}, closing]
    second = _row(of, 1, (30, 51), 4096)
    second["conversation"] = [
        {"role": "system", "content": f"Be proactive. {SUMMARY}"},
        {"role": "frames", "start": 30, "end": 50}, turns[8],
        ASK, {"role": "frames", "start": 50, "end": 51}, closing,
    ]  # fmt: skip
    return [row | {"metadata": _meta(of, SUMMARY)} for row in (first, second)]


def summary_only(of: Dialogue) -> dict[str, Any]:
    """Make a clip without assistant turns, whose summary must come from the pictures."""
    row = clips(of)[0]
    turns = [turn for turn in row["conversation"][:-1] if turn["role"] != "assistant"]
    return row | {
        "conversation": [*turns, row["conversation"][-1]],
        "metadata": row["metadata"] | {"summary_only": True},
    }


def dst_clip(subset: str, video: str, user: str) -> dict[str, Any]:
    """Make a clip of the DST extension without ``frames_file``, whose last turn is on ``end_frame_idx``."""
    turns: list[dict[str, Any]] = [
        {"role": "system", "content": "Help.", "start_frame": 0, "end_frame": 1, "labels": "system|generic"}
    ]
    last = 0
    for time, role, content in (
        (5.0, "DST_UPDATE", [{"id": "S1", "transition": "start"}]),
        (5.2, "assistant", "Boil the water."),
        (20.0, "DST_UPDATE", [{"id": "S1", "transition": "complete"}]),
        (20.0, "DST_UPDATE", [{"id": "S2", "transition": "start"}]),
        (25.0, "assistant", "Well done."),
    ):
        turns.append({"role": role, "time": time, "content": content, "start_frame": last, "end_frame": int(time * 2)})
        last = int(time * 2)
    return {
        "id": f"{video}-{user}", "video_uid": video, "inferred_goal": "tea", "inferred_knowledge": "Tea\n1. boil\n2. pour",
        "conversation": turns, "user_type": user, "start_frame_idx": 0, "end_frame_idx": 50, "dataset": subset,
        "clip_idx": 0, "seq_len": 99, "max_seq_len": 4096, "num_tokens_per_img": 1, "fps": 2, "initial_dst_state": {},
        "dst": [{"type": "step", "id": "S1", "start_ts": 5.0, "end_ts": 20.0, "name": "boil"},
                {"type": "step", "id": "S2", "start_ts": 20.0, "end_ts": 25.0, "name": "pour"}],
    }  # fmt: skip


def _write_rows(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_tree(root: Path) -> Path:
    """Write a tree of two subsets, with one video per split and two users per video."""
    rng = np.random.default_rng(0)
    for subset, videos in SUBSETS.items():
        prepared = root / subset / "prepared"
        prepared.mkdir(parents=True)
        (root / subset / "frames").mkdir()
        for _, name in videos.values():
            pictures = rng.integers(0, 255, (FRAMES, 16, 16, 3), dtype=np.uint8)
            write_video_frames_file(root / subset / "frames" / f"{name}.arrow", iter(pictures))
        users = list(enumerate(("no_talk", "talk_more")))
        for split, (uid, name) in videos.items():
            for tokens in (1, 5, 10):
                dialogues = [Dialogue(subset, uid, name, user, k, tokens) for k, user in users]
                cut = [row for of in dialogues for row in clips(of)]
                for kind in ("dialog-sum", "dialog-klg-sum"):
                    _write_rows(prepared / f"{kind}_{split}_L4096_I{tokens}.jsonl", cut)
                if split != "test":
                    rows = [summary_only(of) for of in dialogues]
                    _write_rows(prepared / f"summary_{split}_L4096_I{tokens}.jsonl", rows)
                if split != "train":
                    rows = [whole(of) for of in dialogues]
                    for kind in ("dialog", "dialog-klg"):
                        _write_rows(prepared / f"{kind}_{split}_L0_I{tokens}.jsonl", rows)
            dst = [dst_clip(subset, uid, user) for _, user in users]
            (root / subset / f"{split}.json").write_text(json.dumps(dst), encoding="utf-8")
        stored = root / subset / "features" / "google___siglip-so400m-patch14-384@-2"
        stored.mkdir(parents=True)
        columns = {"cls": rng.normal(size=(FRAMES, 1, 12)), "2x2": rng.normal(size=(FRAMES, 4, 12))}
        write_proassist_features(stored / f"{videos['train'][1]}.arrow", columns)
    return root
