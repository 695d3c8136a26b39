"""Tests. The environment is set here before any library reads it; child processes inherit it."""

import os

# the test workers of one machine share its cores
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _WORKERS > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _WORKERS)))
os.environ["HF_HUB_OFFLINE"] = "1"
