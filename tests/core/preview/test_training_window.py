"""`prospect data preview` shows exactly the model's input, in the terminal and in a browser."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from prospect_core.preview.training_window import preview_training_window, print_training_window, training_window_html
from prospect_core.sequence.builder import SequenceBuilder
from prospect_core.sequence.context_noise import NoiseRates
from prospect_core.sequence.labels import IGNORE
from prospect_core.timeline import Event
from prospect_core.train.data.frame_samplers import CombinedSampler, Silent, Speaking
from prospect_core.train.data.training_dataset import DSTTrainingDataset, SamplingPlan
from prospect_core.train.data.window_sampler import WindowSampler
from prospect_core.util.errors import UserError
from tests.helpers.commands import run_cli
from tests.helpers.training import pictures

pytestmark = pytest.mark.integration


@pytest.fixture
def dataset(world, tokenizer):
    draws = SamplingPlan(
        WindowSampler(8, 20, event_share=1.0, progress_share=1.0), CombinedSampler((Speaking(0, 0), Silent(0.2)))
    )
    return DSTTrainingDataset(list(world.episodes("train")), SequenceBuilder(tokenizer, 4), pictures, draws)


def test_preview_window_equals_sequence(dataset):
    for index in range(len(dataset)):
        sequence, media = dataset[index]
        shown = preview_training_window(dataset, index)
        text = "".join(t for piece in (shown.prompt, *(r.after for r in shown.rows)) for t, _ in piece.tokens)
        assert text == dataset.builder.tokenizer.decode([i for i in sequence.ids if i != dataset.builder.special.image])
        learnt = sum(on for piece in (shown.prompt, *(r.after for r in shown.rows)) for _, on in piece.tokens)
        assert learnt == shown.learnt == sum(label != IGNORE for label in sequence.lm_labels)
        for k, row in enumerate(shown.rows):
            assert row.frame == sequence.frames[k]
            assert (row.picture == media[k]).all()
            assert (IGNORE if row.speaking is None else row.speaking) == sequence.speaking[k]
            assert [IGNORE if v is None else v for v in row.states] == sequence.states[k]


def test_preview_window_reports_context_noise(world, tokenizer):
    draws = SamplingPlan(WindowSampler(400, 400, progress_share=0, context_noise=NoiseRates(0, 1.0, 1.0, 1.0, 0)))
    data = DSTTrainingDataset(list(world.episodes("train"))[:1], SequenceBuilder(tokenizer, 4), pictures, draws)
    window, _ = data.window(0)
    told = preview_training_window(data, 0).context_noise
    changed = sorted({frame for frame, _, _ in window.clip.transitions()} & window.context_noise.missed)
    assert changed
    assert f"; context noise: missing updates on frames {', '.join(map(str, changed))}" in told
    assert f"; wrong updates on frames {', '.join(map(str, sorted(window.context_noise.wrong)))}" in told
    assert f"; early replies on frames {', '.join(map(str, sorted(window.context_noise.early)))}" in told
    assert "missing replies" not in told


def printed(shown, terminal, everything=False):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, color_system="truecolor" if terminal else None, width=140)
    print_training_window(shown, console, everything)
    return out.getvalue()


def test_preview_window_terminal_shows_supervised_frames(dataset):
    shown = preview_training_window(dataset, 0)
    text = printed(shown, terminal=True)
    assert text.count("▀") == 24 * 12 * sum(row.supervised for row in shown.rows)
    plain = printed(shown, terminal=False)
    assert "▀" not in plain
    hidden = sum(int(n) for n in re.findall(r"\.\.\. (\d+) frames? without label or text", plain))
    assert hidden + plain.count("x <image>") == len(shown.rows)
    assert printed(shown, False, everything=True).count("x <image>") == len(shown.rows)


def test_preview_window_html_escapes_text(dataset):
    episode = dataset.episodes[0]
    events = tuple(
        replace(e, text="<script>alert(1)</script>[bold]x") if e.kind == "user" else e for e in episode.events
    )
    evil = replace(episode, id="<img src=x onerror=alert(1)>", events=events)
    assert isinstance(events[0], Event)
    shown = preview_training_window(
        DSTTrainingDataset([evil], dataset.builder, pictures, SamplingPlan(WindowSampler(900, 900))), 0
    )
    page = training_window_html(shown)
    assert "<script>" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page
    assert "[bold]x" in printed(shown, False)


def test_preview_window_index_beyond_epoch_raises(dataset):
    with pytest.raises(UserError, match="give a number from 0 to 5, the windows of the epoch"):
        preview_training_window(dataset, 6)


def test_preview_command_writes_window_page(world, tmp_path, capsys):
    page = tmp_path / "window.html"
    assert run_cli("data", "preview", world.root, "--index", 2, "--html", page, "sampling=all") == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert "http" not in page.read_text().replace("http-equiv", "")
    assert run_cli("data", "preview", world.root, "--split", "nowhere") == 3
    assert run_cli("data", "preview", world.root, "sampling.blnk_share=1") == 2
    assert "did you mean 'sampling.blank_share'" in capsys.readouterr().err
