"""Every reader of external files on damaged files: it returns, or reports the error in one line."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from benchmarks.reliability.fuzz_targets import TARGETS, mutate
from prospect_core.util.errors import UserError

#: damaged inputs per target; `make bench-faults` reads many more
INPUTS = 100


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_readers_damaged_file_is_read_or_one_line(name, tmp_path):
    target = TARGETS[name]
    whole = target.seeds()
    for number, data in enumerate(whole):
        (tmp_path / f"whole{number}").mkdir()
        target.read(tmp_path / f"whole{number}", data)

    @seed(0)
    @settings(max_examples=INPUTS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def damaged(number):
        rng = random.Random(number)
        folder = tmp_path / "damaged"
        folder.mkdir(exist_ok=True)
        said = "."
        try:
            target.read(folder, mutate(rng, rng.choice(whole)))
        except UserError as error:
            said = str(error)
        assert len(said.splitlines()) == 1

    damaged()
