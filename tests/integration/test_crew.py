"""Jobs shared by workers: none is lost or done twice, whoever dies; the same on this machine's processes and on Ray."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prospect_core.crew import Hands, packed, work
from prospect_core.crew.local import LocalCrew, _cards
from prospect_core.errors import DataError, UserError
from prospect_core.interrupt import stopping
from prospect_eval.adapters import Asked, open_predictor
from prospect_eval.cli import main as prospect_eval
from tests.helpers import brightness_adapter
from tests.helpers.commands import call, evaluate, one_line
from tests.helpers.files import digest
from tests.helpers.squares import Squares


@pytest.fixture(params=["process", pytest.param("ray", marks=pytest.mark.nightly)])
def backend(request):
    if request.param == "ray":
        pytest.importorskip("ray")
    return request.param


PACKS = [[1, 2, 3], [4, 5], [6], [7, 8, 9]]


def test_a_replacement_takes_the_cards_of_the_worker_that_was_lost(tmp_path):
    """There are workers on cards 0, 1 and 2, and the second one dies. Its replacement works on card 1."""
    crew = LocalCrew(Squares(tmp_path), Hands(3, gpus=1))
    crew._places = {0: 0, 1: 1, 2: 2}
    assert crew._free_place() == 3
    del crew._places[1]
    assert crew._free_place() == 1
    assert _cards(crew._free_place(), 1) == "1"


def test_every_job_is_done_once(backend, tmp_path):
    shares = {}
    found = list(work(Squares(tmp_path), PACKS, Hands(2, backend), shares))
    assert sorted(found) == [(job, job * job) for job in range(1, 10)]
    assert sum(share.jobs for share in shares.values()) == 9
    assert os.getpid() not in {share.pid for share in shares.values()}


def test_a_worker_that_dies_costs_what_it_had_in_hand(backend, tmp_path):
    craft = Squares(tmp_path, kills=(2, 8))
    craft.kill_at(2, 1)
    craft.kill_at(8, 2)
    found = list(work(craft, PACKS, Hands(2, backend)))
    assert sorted(found) == [(job, job * job) for job in range(1, 10)]


def test_a_job_that_kills_every_worker_is_given_up(tmp_path):
    craft = Squares(tmp_path, kills=(2,))
    craft.kill_at(2, 9)
    found = dict(work(craft, PACKS, Hands(2)))
    assert isinstance(found[2], DataError)
    assert "3 workers were lost over it; the last: a process ended by signal 9" in str(found.pop(2))
    assert sorted(found.items()) == [(job, job * job) for job in (1, 3, 4, 5, 6, 7, 8, 9)]


def test_an_error_of_a_worker_is_the_callers(backend, tmp_path):
    with pytest.raises(DataError, match="7 is broken"):
        list(work(Squares(tmp_path, fails=(7,)), PACKS, Hands(2, backend)))


def test_workers_that_never_come_up_are_not_waited_for(backend, tmp_path):
    with pytest.raises(DataError, match="no worker comes up"):
        list(work(Squares(tmp_path, born=False), PACKS, Hands(2, backend)))


def test_after_an_interrupt_only_what_is_in_hand_is_done(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("prospect_core.crew.stopping", lambda: bool(asked) or stopping())
    found = []
    for job, _ in work(Squares(tmp_path), PACKS, Hands(1)):
        asked.append(True)
        found.append(job)
    assert found in PACKS


@pytest.mark.nightly
def test_a_cluster_without_room_is_told_of(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"--workers 2: they need 6 GPU, the cluster has 0"):
        list(work(Squares(tmp_path), PACKS, Hands(2, "ray", gpus=3)))


@pytest.mark.nightly
def test_an_address_that_nobody_answers_at_is_told_of(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(DataError, match=r"--address 127\.0\.0\.1:9: no Ray cluster answers"):
        list(work(Squares(tmp_path), PACKS, Hands(2, "ray", address="127.0.0.1:9")))


@given(
    st.lists(st.tuples(st.integers(1, 900), st.integers(0, 12)), min_size=1, max_size=60),
    st.integers(1, 16),
    st.integers(1, 4),
)
def test_packs_hold_every_job_once_and_groups_together(jobs, least, workers):
    costs, groups = [cost for cost, _ in jobs], [group for _, group in jobs]
    packs = packed(costs, groups, least, workers)
    assert sorted(job for pack in packs for job in pack) == list(range(len(jobs)))
    homes = Counter(group for pack in packs for group in {groups[job] for job in pack})
    assert set(homes.values()) == {1}
    # the dearest begin first
    most = [max(costs[job] for job in pack) for pack in packs]
    assert most == sorted(most, reverse=True)


def test_packs_by_hand():
    """Ten jobs of five videos for two workers: packs of two, the longest videos first."""
    costs = [5, 6, 9, 9, 1, 1, 7, 8, 3, 2]
    videos = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"]
    assert packed(costs, videos, 16, 2) == [[2, 3], [6, 7], [0, 1], [8, 9], [4, 5]]
    assert packed(costs, videos, 16, 1) == [[2, 3], [6, 7], [0, 1], [8, 9], [4, 5]]
    assert packed([1] * 40, list(range(40)), 5, 1)[0] == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_a_run_by_workers_is_the_run_of_one_process(backend, checkpoint, short_world, tmp_path, capsys):
    """Also where they do not see the run folder: records come back then."""
    given = ["run", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 3, "--output"]
    assert evaluate(*given, tmp_path / "alone") == 0
    capsys.readouterr()
    assert evaluate(*given, tmp_path / "apart", "--workers", 2, "--backend", backend) == 0
    # whichever comes up first may do all; what they have done is all there is
    shares = re.findall(r"  worker [01] on \S+: (\d) episodes?, ", capsys.readouterr().out)
    assert sum(map(int, shares)) == 3
    assert digest(tmp_path / "apart") == digest(tmp_path / "alone")
    assert not (tmp_path / "apart" / ".shared").exists()


@pytest.fixture
def brightness(tmp_path, monkeypatch):
    """The name of a model whose workers start without torch."""
    brightness_adapter.install(tmp_path / "installed", monkeypatch)
    return brightness_adapter.NAME


@pytest.mark.slow
def test_records_come_back_where_the_run_folder_is_not_seen(brightness, short_world, tmp_path, monkeypatch):
    given = ["run", "--ckpt", brightness, "--data", short_world.root, "--limit", 2, "--workers", 2, "--output"]
    assert evaluate(*given, tmp_path / "seen") == 0
    # what is looked for there is never found
    monkeypatch.setattr("prospect_eval.apart.secrets.token_hex", lambda size: "")
    monkeypatch.setattr("prospect_eval.apart.write_atomic", lambda *args: None)
    assert evaluate(*given, tmp_path / "unseen") == 0
    assert digest(tmp_path / "unseen") == digest(tmp_path / "seen")


@pytest.mark.slow
def test_a_broken_video_fails_its_episodes_alone(short_world, brightness, tmp_path, capsys):
    import shutil

    root = tmp_path / "set"
    shutil.copytree(short_world.root, root)
    video = next(short_world.episodes("test")).video
    (root / video).write_bytes(b"no video")
    given = ["run", "--ckpt", brightness, "--data", root, "--workers", 2, "--output", tmp_path / "run"]
    assert evaluate(*given) == 3
    assert video in one_line(capsys)
    assert evaluate(*given, "--on-error", "skip") == 0
    done = json.loads((tmp_path / "run" / "DONE.json").read_text())
    assert (done["episodes"]["scored"], len(done["episodes"]["failed_ids"])) == (3, 3)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--workers", "0"], "0 is not in the range"),
        (["--backend", "slurm"], "'slurm' is not one of"),
        (["--address", "x:1", "--workers", "2"], "--address x:1: belongs to --backend ray"),
    ],
)
def test_workers_that_cannot_be_are_refused(given, line, capsys):
    assert call(prospect_eval, "run", "--ckpt", "workbench-tiny", "--suite", "workbench", *given) == 2
    assert line in capsys.readouterr().err


def test_without_ray_one_line_says_what_to_install(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"--backend ray needs the package ray: pip install 'prospect-suite\[ray\]'"):
        list(work(Squares(tmp_path), PACKS, Hands(2, "ray")))


def test_a_worker_that_dies_idle_is_not_one_that_never_came_up(monkeypatch):
    """Three that die while another one works end nothing."""
    from prospect_core import crew

    class Played:
        def __init__(self):
            idle_deaths = [*((n, crew.Ready("h", n)) for n in (1, 2, 3)), *((n, crew.Lost("gone")) for n in (1, 2, 3))]
            self.events = iter([(0, crew.Ready("h", 0)), *idle_deaths, (0, crew.Made(0, "done")), (0, crew.Through())])

        def hire(self):
            return 0

        def give(self, worker, pack):
            assert (worker, pack) == (0, ["job"])

        def next(self):
            return next(self.events)

        def close(self):
            pass

    monkeypatch.setattr(crew, "_crew", lambda craft, hands: Played())
    assert list(work(None, [["job"]], Hands(4))) == [("job", "done")]


def test_who_leaves_the_replay_to_others_never_imports_torch(short_world):
    asked = "Asked('drop_all', 600, speaking_threshold=0.3, apart=True)"
    told = (
        "import sys; from prospect_eval.adapters import Asked, open_predictor;"
        f"p = open_predictor('workbench-tiny', None, [], {asked});"
        "print((p.knobs, p.digest, p.thresholds_from)); assert 'torch' not in sys.modules"
    )
    here = open_predictor("workbench-tiny", short_world, [], Asked("drop_all", 600, speaking_threshold=0.3))
    said = subprocess.run([sys.executable, "-c", told], check=True, timeout=120, capture_output=True, text=True).stdout
    assert said == f"{(here.knobs, here.digest, here.thresholds_from)}\n"
