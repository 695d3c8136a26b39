"""The commands of README and documentation, run page by page in a folder with all files that they
name.
"""

from __future__ import annotations

import io
import re
import shutil
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from prospect_core.checkpoints.folders import find_checkpoint_folder
from prospect_core.data.dataset import Dataset
from prospect_core.data.video import write_video_frames_file
from prospect_core.util.json_io import dump_json
from prospect_core.workbench.generate import generate_workbench
from prospect_core.workbench.world.levels import SPLITS
from tests.helpers.annotations import TABLE
from tests.helpers.commands import call
from tests.helpers.documentation import COMMANDS, blocks, lines
from tests.helpers.proassist_rows import row
from tests.helpers.proassist_tree import dst_clip

#: requirements of commands that no test has; such commands are only parsed, in another test
NEEDS = {
    r"hf:": "the hub",
    r"http://|hf://": "a server",
    r"camera|rtsp:": "a camera",
    r"cuda|--address|model=smolvlm2": "cards, a cluster, SmolVLM2's weights",
    r"s3://": "a bucket",
    r"my_strategy --budget|my_adapter:": "the new package installed (tests/integration/test_scaffold.py)",
    r"--(suite|benchmark) (ovo_bench|ovo_timing|streamingbench)": "the annotations of a published benchmark",
    r"--(suite|benchmark) (egoproactive|omnimmi|proactivevideoqa)": "the annotations of a published benchmark",
    r"--(suite|benchmark) (omnipro|fitcoach)": "the annotations of a published benchmark",
    r"(?i)captaincook4d|goalstep|interactive[-_]cooking|data/substeps": "the annotations of a published data set",
    r"--(suite|benchmark) my_benchmark": "the new package installed (tests/integration/test_scaffold.py)",
    r"all-mpnet": "a similarity model to download",
    r"--group": "runs of several training seeds",
}
#: replacements that make a command faster
SHORTER = [
    (r"train\.max_steps=\d+", "train.max_steps=2 eval.thresholds=false train.batch_size=2"),
    (r"train\.minutes=\d+", "train.max_steps=2 eval.thresholds=false train.batch_size=2"),
    (r"^(prospect train -m .*)", r"\1 train.max_steps=1 eval.thresholds=false train.batch_size=2"),
    (r"^(prospect data workbench .*)", r"\1 --train 2 --val 1 --test 1"),
    (r"--workers \d+", "--workers 2"),
    (r"^(prospect watch .*)", r"\1 --speed 40"),
    (r"--latency 3", "--latency 1"),
    (r"--limit 20 --clock live", "--limit 1 --clock live --live-speed 60"),
    (r"--limit 20 --clock simulated", "--limit 1 --clock simulated"),
    (r"--latency-ms [\d,]+", "--latency-ms 0,1000"),
    (r"/scratch/", "scratch-"),
]  # fmt: skip
#: pages to run; the tutorial is run as written in tests/docs/test_docs.py
TOLD = [page for page in dict.fromkeys(page for page, _ in blocks("console")) if page.name != "tutorial.md"]
SUBTITLES = "1\n00:00:01,000 --> 00:00:02,000\nNow pour it.\n"
LEVELS = "\n".join(
    "\t".join(cells)
    for cells in [
        ("type", "id", "start_ts", "end_ts", "name"),
        ("step", "1", "1", "6", "make tea"),
        ("substep", "2", "1", "3", "boil the water"),
        ("action", "3", "1", "2", "take the kettle"),
    ]
)
#: a video of ProAssist's generated dialogues
GENERATED = {
    "video_uid": "assembly_nusar_a",
    "inferred_goal": "toy",
    "inferred_knowledge": "Toy\n1. unscrew",
    "conversations": [
        {
            "conversation": [
                {"role": "user", "time": 7.8, "content": "Help me.", "labels": ""},
                {"role": "assistant", "time": 7.9, "content": "Unscrew it.", "labels": "responsive|instruction"},
            ],
            "user_type": "no_talk",
        }
    ],
    "parsed_video_anns": {"dataset": "assembly101", "video_start_time": 5.5, "duration": 60},
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with data, a checkpoint, runs and files under the names in the pages."""
    root = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        made = generate_workbench(root / "data/workbench", 5, {"train": 2, "val": 1, "test": 2}, video_fps=2)
        for name in ("mine", "assembly", "rows", "proassist"):
            shutil.copytree(made.root, root / "data" / name)
        shutil.copytree(find_checkpoint_folder("workbench-tiny"), root / "runs/mine")
        clip = next(Dataset.open("data/mine").episodes("test"))
        shutil.copy(made.root / clip.video, "clip.mp4")
        Path("task.json").write_text(dump_json(clip.task))
        Path("talk.srt").write_text(SUBTITLES)
        Path("annotation.tsv").write_text(LEVELS)
        subset = Path("processed_data/assembly101")
        for part in ("prepared", "frames"):
            (subset / part).mkdir(parents=True)
        write_video_frames_file(subset / "frames/a.arrow", iter([np.zeros((8, 8, 3), np.uint8)] * 6))
        text = dump_json(row("assembly_a", "no_talk", 6)) + "\n"
        (subset / "prepared/dialog-klg-sum_test_L0_I1.jsonl").write_text(text)
        taught = dump_json(row("assembly_a", "talk_more", 6)) + "\n"
        (subset / "prepared/dialog-klg-sum_train_L0_I1.jsonl").write_text(taught)
        Path("proassist_prepared.jsonl").write_text(text)
        for file, content in (
            ("generated_dialogs/test_filtered.json", [GENERATED]),
            ("dst/assembly101/test.json", [dst_clip("assembly101", "disassembly_nusar_c", "no_talk")]),
        ):
            Path(file).parent.mkdir(parents=True)
            Path(file).write_text(dump_json(content))
        for args in (
            ("run", "--ckpt", "runs/mine", "--data", "data/mine", "--output", "runs/mine-workbench-none"),
            (
                "run",
                "--ckpt",
                "runs/mine",
                "--data",
                "data/mine",
                "--strategy",
                "dst_refresh",
                "--budget",
                600,
                "--output",
                "runs/mine-workbench-dst_refresh-600",
            ),
            ("run", "--ckpt", "baseline:silent", "--data", "data/mine", "--output", "runs/other-workbench-none"),
        ):
            assert call(COMMANDS["prospect-eval"], *args) == 0
        records = Path("runs/other-workbench-none/episodes").glob("*.json")
        Path("theirs.jsonl").write_text("".join(file.read_text() + "\n" for file in sorted(records)))
        rules = Path("rules.yaml")
        rules.write_text("metrics: {dst_jga: {margin: 0.02}}\n")
        base = "reports/baselines/workbench.json"
        gate = ("gate", "runs/mine-workbench-none", "--baseline", base, "--rules", rules, "--update")
        assert call(COMMANDS["prospect-eval"], *gate) == 0
    return root


def shorter(words, number):
    text = " ".join(words)
    for pattern, to in SHORTER:
        text = re.sub(pattern, to, text)
    if "--suite" in text and re.match("prospect-eval (run|sweep)", text) and "--limit" not in text:
        text += " --limit 2"
    if text.startswith("prospect-eval run --ckpt runs/mine") and "--output" not in text:
        # a command between may have changed the thresholds, and a run folder refuses another model
        text += f" --output runs/{number}"
    return text


def clear(words):
    """Remove outputs of a command that already exist."""
    if words[1] == "train":
        for word in words:
            if word.startswith("output="):
                shutil.rmtree(word.removeprefix("output="), ignore_errors=True)
    for option in ("--output", "new"):
        if words[1] in ("data", "new") and option in words:
            place = Path(words[words.index(option) + (2 if words[1] == "new" else 1)])
            shutil.rmtree(place, ignore_errors=True)
            place.with_suffix(".tsv").unlink(missing_ok=True)


@pytest.mark.nightly
@pytest.mark.parametrize("page", TOLD, ids=lambda page: page.stem)
def test_docs_page_commands_run(page, desk, tmp_path, monkeypatch, capsys):
    here = tmp_path / "desk"
    shutil.copytree(desk, here)
    monkeypatch.chdir(here)
    for split in SPLITS:
        monkeypatch.setitem(SPLITS, split, SPLITS[split].__class__(**{**vars(SPLITS[split]), "videos": 1}))
    # a suite with gate rules is refused if its split is as small as the one above
    monkeypatch.setattr("prospect_eval.suites.suite.MIN_VIDEOS", 1)
    # `prospect watch` gets no input
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ran = lacking = 0
    numbers = count()
    for _, block in [one for one in blocks("console") if one[0] == page]:
        for given in lines(block):
            number = next(numbers)
            whole = " ".join(given)
            if given[0] not in COMMANDS:
                continue
            if any(re.search(need, whole) for need in NEEDS):
                lacking += 1
                continue
            words = [
                word.replace("\x00", " ") for word in shorter([w.replace(" ", "\x00") for w in given], number).split()
            ]
            clear(words)
            code = call(COMMANDS[words[0]], *words[1:])
            told = capsys.readouterr()
            # doctor's exit code reports missing parts; the baseline can be of other data than the
            # run
            allowed = {0, 3} if words[1] in ("doctor", "gate") else {0}
            if "--strict" in words:
                allowed.add(1)  # a strict gate fails if the videos are too few for a verdict
            assert code in allowed, f"{whole}\n{told.out[-800:]}{told.err[-800:]}"
            ran += 1
            if words[1:3] == ["data", "new"]:
                Path("clip.tsv").write_text(TABLE)
            if words[1:3] == ["data", "import"] and words[3].endswith(".jsonl"):
                # as the command's output requests
                place = Path(words[words.index("--output") + 1]) / "frames"
                place.mkdir()
                shutil.copy("processed_data/assembly101/frames/a.arrow", place / "elsewhere.arrow")
    if lacking and not ran:
        pytest.skip("each command of the page needs what no test has")
    assert ran
