"""Command-line options of every command whose work several workers share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from prospect_core.parallel.protocol import BACKENDS, WorkerOptions
from prospect_core.util.console import Number


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --workers, --backend, --address and --gpus-per-worker to a command.

    The command gets ``pool_options``: None if it does all work itself.
    """

    @wraps(command)
    def with_pool_options(
        *args: Any, workers: int, backend: Any, address: str | None, gpus: float, **kwargs: Any
    ) -> Any:
        pool_options = WorkerOptions(workers, backend, gpus, address).check()
        alone = (pool_options.workers, pool_options.backend, pool_options.gpus) == (1, "process", 0)
        return command(*args, pool_options=None if alone else pool_options, **kwargs)

    for option in reversed(
        (
            click.option("--workers", type=click.IntRange(1, 4096), default=1, help="Number of worker processes.", show_default=True),
            click.option(
                "--backend", type=click.Choice(BACKENDS), default="process", show_default=True,
                help="Where workers run: as processes of this machine, or on a Ray cluster.",
            ),
            click.option("--address", help="Address of the Ray cluster [default: RAY_ADDRESS, or a temporary local one]."),
            click.option(
                "--gpus-per-worker", "gpus", type=Number(min=0), default=0, show_default=True,
                help="GPUs per worker; 0.5 puts two workers on each GPU.",
            ),
        )
    ):  # fmt: skip
        with_pool_options = option(with_pool_options)
    return with_pool_options
