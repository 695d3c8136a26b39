"""Worker pools: every job is done exactly once although workers die, on processes and on Ray."""

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

from prospect_core.parallel.process_backend import ProcessBackend, _cards
from prospect_core.parallel.protocol import WorkerOptions
from prospect_core.parallel.scheduler import schedule_batches, schedule_jobs
from prospect_core.util.errors import DataError, UserError
from prospect_core.util.signals import stop_requested
from prospect_eval.cli.commands import prospect_eval
from prospect_eval.models.base import PredictorOptions
from prospect_eval.models.registry import open_registered_predictor
from tests.helpers import brightness_adapter
from tests.helpers.commands import call, evaluate, one_line
from tests.helpers.files import digest
from tests.helpers.squares import Squares


@pytest.fixture(params=["process", pytest.param("ray", marks=pytest.mark.nightly)])
def backend(request):
    if request.param == "ray":
        pytest.importorskip("ray")
    return request.param


BATCHES = [[1, 2, 3], [4, 5], [6], [7, 8, 9]]


def test_process_backend_replacement_uses_gpus_of_lost_worker(tmp_path):
    """Workers use GPUs 0, 1 and 2, and the second one dies. Its replacement uses GPU 1."""
    pool = ProcessBackend(Squares(tmp_path), WorkerOptions(3, gpus=1))
    pool._places = {0: 0, 1: 1, 2: 2}
    assert pool._free_place() == 3
    del pool._places[1]
    assert pool._free_place() == 1
    assert _cards(pool._free_place(), 1) == "1"


def test_schedule_jobs_does_every_job_once(backend, tmp_path):
    shards = {}
    found = list(schedule_jobs(Squares(tmp_path), BATCHES, WorkerOptions(2, backend), shards))
    assert sorted(found) == [(job, job * job) for job in range(1, 10)]
    assert sum(share.jobs for share in shards.values()) == 9
    assert os.getpid() not in {share.pid for share in shards.values()}


def test_schedule_jobs_dead_worker_repeats_only_its_jobs(backend, tmp_path):
    factory = Squares(tmp_path, kills=(2, 8))
    factory.kill_at(2, 1)
    factory.kill_at(8, 2)
    found = list(schedule_jobs(factory, BATCHES, WorkerOptions(2, backend)))
    assert sorted(found) == [(job, job * job) for job in range(1, 10)]


def test_schedule_jobs_killing_job_is_given_up(tmp_path):
    factory = Squares(tmp_path, kills=(2,))
    factory.kill_at(2, 9)
    found = dict(schedule_jobs(factory, BATCHES, WorkerOptions(2)))
    assert isinstance(found[2], DataError)
    assert "3 workers died on this job; the last: a process ended by signal 9" in str(found.pop(2))
    assert sorted(found.items()) == [(job, job * job) for job in (1, 3, 4, 5, 6, 7, 8, 9)]


def test_schedule_jobs_worker_error_is_raised(backend, tmp_path):
    with pytest.raises(DataError, match="7 is broken"):
        list(schedule_jobs(Squares(tmp_path, fails=(7,)), BATCHES, WorkerOptions(2, backend)))


def test_schedule_jobs_workers_that_never_start_raise(backend, tmp_path):
    with pytest.raises(DataError, match="no worker starts"):
        list(schedule_jobs(Squares(tmp_path, born=False), BATCHES, WorkerOptions(2, backend)))


def test_schedule_jobs_interrupt_finishes_running_jobs(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("prospect_core.parallel.scheduler.stop_requested", lambda: bool(asked) or stop_requested())
    found = []
    for job, _ in schedule_jobs(Squares(tmp_path), BATCHES, WorkerOptions(1)):
        asked.append(True)
        found.append(job)
    assert found in BATCHES


@pytest.mark.nightly
def test_schedule_jobs_full_cluster_is_reported(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"--workers 2: needs 6 GPU, the cluster has 0"):
        list(schedule_jobs(Squares(tmp_path), BATCHES, WorkerOptions(2, "ray", gpus=3)))


@pytest.mark.nightly
def test_schedule_jobs_unreachable_address_is_reported(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(DataError, match=r"--address 127\.0\.0\.1:9: no Ray cluster answers"):
        list(schedule_jobs(Squares(tmp_path), BATCHES, WorkerOptions(2, "ray", address="127.0.0.1:9")))


@given(
    st.lists(st.tuples(st.integers(1, 900), st.integers(0, 12)), min_size=1, max_size=60),
    st.integers(1, 16),
    st.integers(1, 4),
)
def test_schedule_batches_have_each_job_once_by_group(jobs, least, workers):
    costs, groups = [cost for cost, _ in jobs], [group for _, group in jobs]
    batches = schedule_batches(costs, groups, least, workers)
    assert sorted(job for batch in batches for job in batch) == list(range(len(jobs)))
    homes = Counter(group for batch in batches for group in {groups[job] for job in batch})
    assert set(homes.values()) == {1}
    # the most expensive jobs start first
    most = [max(costs[job] for job in batch) for batch in batches]
    assert most == sorted(most, reverse=True)


def test_schedule_batches_by_hand():
    """Ten jobs of five videos for two workers: batches of two, the longest videos first."""
    costs = [5, 6, 9, 9, 1, 1, 7, 8, 3, 2]
    videos = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"]
    assert schedule_batches(costs, videos, 16, 2) == [[2, 3], [6, 7], [0, 1], [8, 9], [4, 5]]
    assert schedule_batches(costs, videos, 16, 1) == [[2, 3], [6, 7], [0, 1], [8, 9], [4, 5]]
    assert schedule_batches([1] * 40, list(range(40)), 5, 1)[0] == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_run_command_workers_equal_one_process(backend, checkpoint, short_world, tmp_path, capsys):
    """Also if the workers have no access to the run folder and send the records back."""
    given = ["run", "--ckpt", checkpoint, "--data", short_world.root, "--limit", 3, "--output"]
    assert evaluate(*given, tmp_path / "alone") == 0
    capsys.readouterr()
    assert evaluate(*given, tmp_path / "apart", "--workers", 2, "--backend", backend) == 0
    # the first worker can do all jobs; their numbers add up to all jobs
    shards = re.findall(r"  worker [01] on \S+: (\d) episodes?, ", capsys.readouterr().out)
    assert sum(map(int, shards)) == 3
    assert digest(tmp_path / "apart") == digest(tmp_path / "alone")
    assert not (tmp_path / "apart" / ".shared").exists()


@pytest.fixture
def brightness(tmp_path, monkeypatch):
    """The name of a model whose workers start without torch."""
    brightness_adapter.install(tmp_path / "installed", monkeypatch)
    return brightness_adapter.NAME


@pytest.mark.slow
def test_run_command_workers_without_folder_send_records(brightness, short_world, tmp_path, monkeypatch):
    given = ["run", "--ckpt", brightness, "--data", short_world.root, "--limit", 2, "--workers", 2, "--output"]
    assert evaluate(*given, tmp_path / "seen") == 0
    # the worker does not find the token
    monkeypatch.setattr("prospect_eval.runs.distributed.secrets.token_hex", lambda size: "")
    monkeypatch.setattr("prospect_eval.runs.distributed.write_atomic", lambda *args: None)
    assert evaluate(*given, tmp_path / "unseen") == 0
    assert digest(tmp_path / "unseen") == digest(tmp_path / "seen")


@pytest.mark.slow
def test_run_command_workers_damaged_video_fails_own_episodes(short_world, brightness, tmp_path, capsys):
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
        (["--address", "x:1", "--workers", "2"], "--address x:1: works only with --backend ray"),
    ],
)
def test_run_command_invalid_workers_are_refused(given, line, capsys):
    assert call(prospect_eval, "run", "--ckpt", "workbench-tiny", "--suite", "workbench", *given) == 2
    assert line in capsys.readouterr().err


def test_schedule_jobs_without_ray_names_extra(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"--backend ray needs the package ray: pip install 'prospect-suite\[ray\]'"):
        list(schedule_jobs(Squares(tmp_path), BATCHES, WorkerOptions(2, "ray")))


def test_schedule_jobs_idle_dead_workers_do_not_end_run(monkeypatch):
    """Three idle workers that die while another one works do not end the run."""
    from prospect_core.parallel import protocol, scheduler

    class Played:
        def __init__(self):
            idle_deaths = [
                *((n, protocol.WorkerReady("h", n)) for n in (1, 2, 3)),
                *((n, protocol.WorkerDied("gone")) for n in (1, 2, 3)),
            ]
            self.events = iter(
                [
                    (0, protocol.WorkerReady("h", 0)),
                    *idle_deaths,
                    (0, protocol.JobDone(0, "done")),
                    (0, protocol.BatchDone()),
                ]
            )

        def start_worker(self):
            return 0

        def submit(self, worker, batch):
            assert (worker, batch) == (0, ["job"])

        def next(self):
            return next(self.events)

        def close(self):
            pass

    monkeypatch.setattr(scheduler, "_open_pool", lambda factory, options: Played())
    assert list(schedule_jobs(None, [["job"]], WorkerOptions(4))) == [("job", "done")]


def test_distributed_predictor_imports_no_torch(short_world):
    asked = "PredictorOptions('drop_all', 600, speaking_threshold=0.3, distributed=True)"
    told = (
        "import sys; from prospect_eval.models.registry import PredictorOptions, open_registered_predictor;"
        f"p = open_registered_predictor('workbench-tiny', None, [], {asked});"
        "print((p.knobs, p.digest, p.thresholds_from)); assert 'torch' not in sys.modules"
    )
    here = open_registered_predictor(
        "workbench-tiny", short_world, [], PredictorOptions("drop_all", 600, speaking_threshold=0.3)
    )
    said = subprocess.run([sys.executable, "-c", told], check=True, timeout=120, capture_output=True, text=True).stdout
    assert said == f"{(here.knobs, here.digest, here.thresholds_from)}\n"
