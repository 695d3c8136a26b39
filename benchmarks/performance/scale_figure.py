"""Draw the scaling figure of `benchmarks.performance.scale`."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw(result: dict[str, Any], file: Path) -> None:
    """Draw strong scaling, weak scaling, and seconds by number of episodes next to each other.

    Args:
        result: Figures of `benchmarks.performance.scale.scaling`.
        file: Output image.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, (strong, weak, grown) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    workers = [int(k) for k in result["strong"]]
    times = list(result["strong"].values())
    strong.plot(workers, [times[0] / t for t in times], "o-", label="Ray, measured")
    strong.plot(workers, workers, "--", color="grey", label="ideal")
    strong.set(title=f"strong: {result['episodes']} episodes", xlabel="workers", ylabel="speed-up", xticks=workers)
    strong.legend()
    times = list(result["weak"].values())
    weak.plot(workers, [times[0] / t for t in times], "o-")
    weak.axhline(1, linestyle="--", color="grey")
    weak.set(
        title=f"weak: {result['episodes'] // 2} episodes a worker", xlabel="workers", ylabel="efficiency", ylim=(0, 1.2),
        xticks=workers,
    )  # fmt: skip
    counts = [int(k) for k in result["by_episodes"]]
    grown.plot(counts, list(result["by_episodes"].values()), "o-")
    grown.set(title="one process, one thread", xlabel="episodes", ylabel="seconds", xlim=(0, None), ylim=(0, None))
    figure.savefig(file, dpi=110)
