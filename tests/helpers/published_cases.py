"""Cases of the published evaluation code: inputs with its values."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from prospect_core.data.formats.proassist import episode_from_proassist_row
from prospect_eval.matching.matcher import Similarity
from prospect_eval.text.embeddings import open_embedding_similarity
from tests.helpers.paths import SHARED_DATA

CASES = SHARED_DATA / "metric_cases.json"
ABSENT = pytest.mark.skip(reason="the published metric cases (metric_cases.json) are not next to this checkout")
UPSTREAM, FIXED = "expected_upstream", "expected_fixed"


def each(kind: str) -> pytest.MarkDecorator:
    """Parametrize a test with every case of a kind; skip it if the cases are absent."""
    if not CASES.is_file():
        return pytest.mark.parametrize("case", [pytest.param(None, marks=ABSENT, id="absent")])
    found = [case for case in json.loads(CASES.read_text())["cases"] if case["kind"] == kind]
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in found])


def expectation(case: dict[str, Any], version: str) -> Any:
    """Return the expected values of a version; skip a case without them or with an expected error."""
    expected = case.get(version)
    if expected is None or "raises" in case or "raises" in expected:
        pytest.skip(f"{version} of this case is an error or is not given")
    return expected


def agree(got: dict[str, float], expected: dict[str, float]) -> None:
    """Compare values except METEOR, whose published implementation is in Java."""
    for name, value in expected.items():
        if not name.startswith("METEOR"):
            assert got[name] == pytest.approx(value, abs=2e-5), name


def similarity_of(given: dict[str, Any]) -> Similarity | None:
    """Return the similarity that a case names, or one from its table of cosines."""
    if given["similarity"] == "none":
        return None
    if given["similarity"] == "all-MiniLM-L6-v2":
        return open_embedding_similarity()
    cosines = {tuple(key.split("||")): value for key, value in given["cosine_table"].items()}
    return lambda left, right: np.array([[cosines.get((a, b), given["cosine_default"]) for b in right] for a in left])


def sides_of(given: dict[str, Any]) -> list[list[tuple[int, str]]]:
    """Return predictions and references of a recording: two prepared rows, or a stream with ``gen`` and ``ref``."""
    file = SHARED_DATA / given["file"]
    if not file.is_file():
        pytest.skip(f"the recording {given['file']} is not next to this checkout")
    if "prediction_row" not in given:
        frames = json.loads(file.read_text())["predictions"]
        return [
            [
                (int(frame["frame_idx_in_stream"]), frame[side].strip())
                for frame in frames
                if (frame[side] or "").strip()
            ]
            for side in ("gen", "ref")
        ]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    sides = []
    for key in ("prediction_row", "reference_row"):
        episode = episode_from_proassist_row(rows[given[key]])
        sides.append([(u.frame - episode.start_frame, u.text) for u in episode.utterances()])
    return sides
