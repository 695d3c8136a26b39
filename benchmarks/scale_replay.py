"""One replay without scores, as `benchmarks.scale` times it; the last line is one JSON object.

python -m benchmarks.scale_replay workbench-tiny data/workbench 20 runs/timed --workers 2
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import click

from prospect_core.crew import Hands
from prospect_core.crew.options import crew_options
from prospect_core.data.dataset import Dataset
from prospect_core.terminal import quiet_transformers
from prospect_eval.adapters import Asked, open_predictor
from prospect_eval.apart import replay_apart
from prospect_eval.provenance import code_digest
from prospect_eval.run import RunConfig, infer, read_records, record_files, select


@click.command()
@click.argument("ckpt")
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("limit", type=int)
@click.argument("folder", type=click.Path(path_type=Path))
@crew_options
def main(ckpt: str, root: Path, limit: int, folder: Path, hands: Hands | None) -> None:
    """Replay, and tell the digest of the predictions and the seconds of each stage."""
    quiet_transformers()
    data = Dataset.open(root)
    episodes = select(data, "test", limit)
    asked = Asked(apart=hands is not None)
    predictor = open_predictor(ckpt, data, episodes, asked)
    config = RunConfig(
        ckpt, predictor.digest, str(root.resolve()), data.digest, "test", limit, predictor.knobs, code_digest()
    )
    shares: dict[int, Any] = {}
    replay = None
    if hands is not None:
        replay = replay_apart(config, root, asked, "fail", folder, episodes, hands, shares.update)
    outcome = infer(folder, config, predictor, episodes, replay=replay)
    records = read_records(folder)[1]
    ids = [record.episode.id for record in records]
    told = {
        "episodes": len(set(ids)) if len(ids) == len(set(ids)) == outcome.new else 0,
        "digest": hashlib.sha256(b"".join(file.read_bytes() for file in record_files(folder))).hexdigest(),
        "by_worker": {number: share.jobs for number, share in shares.items()},
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
    sys.exit(0)
