"""Replay once without scores; `benchmarks.performance.scale` times this command.

    python -m benchmarks.performance.scale_replay workbench-tiny data/workbench 20 runs/timed --workers 2

The last line of output is one JSON object.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import click

from prospect_core.cli.worker_options import worker_options
from prospect_core.data.dataset import Dataset
from prospect_core.parallel.protocol import WorkerOptions
from prospect_core.util.console import quiet_transformers
from prospect_eval.models.base import PredictorOptions
from prospect_eval.models.registry import open_registered_predictor
from prospect_eval.runs.distributed import replay_distributed
from prospect_eval.runs.environment import digest_environment_code
from prospect_eval.runs.executor import execute_run, select_run_episodes
from prospect_eval.runs.folder import RunConfig, list_run_folder_record_files, read_run_folder_records


@click.command()
@click.argument("ckpt")
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("limit", type=int)
@click.argument("folder", type=click.Path(path_type=Path))
@worker_options
def main(ckpt: str, root: Path, limit: int, folder: Path, pool_options: WorkerOptions | None) -> None:
    """Replay a data set and print the digest of the predictions and the jobs of each worker."""
    quiet_transformers()
    data = Dataset.open(root)
    episodes = select_run_episodes(data, "test", limit)
    asked = PredictorOptions(distributed=pool_options is not None)
    predictor = open_registered_predictor(ckpt, data, episodes, asked)
    config = RunConfig(
        ckpt,
        predictor.digest,
        str(root.resolve()),
        data.digest,
        "test",
        limit,
        predictor.knobs,
        digest_environment_code(),
    )
    shares: dict[int, Any] = {}
    replay = None
    if pool_options is not None:
        replay = replay_distributed(config, root, asked, "fail", folder, episodes, pool_options, shares.update)
    outcome = execute_run(folder, config, predictor, episodes, replay=replay)
    records = read_run_folder_records(folder)[1]
    ids = [record.episode.id for record in records]
    told = {
        "episodes": len(set(ids)) if len(ids) == len(set(ids)) == outcome.new else 0,
        "digest": hashlib.sha256(
            b"".join(file.read_bytes() for file in list_run_folder_record_files(folder))
        ).hexdigest(),
        "by_worker": {number: share.jobs for number, share in shares.items()},
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
    sys.exit(0)
