"""Feed corrupt files to every reader, guided by coverage (atheris, from the extra ``drill``).

    python -m benchmarks.reliability.fuzz --inputs 200000

Each target runs in its own process and adds interesting inputs to its seeds. `fuzz_targets.mutate`
corrupts half of the inputs as JSON or bytes; libFuzzer corrupts the other half. ``tracebacks`` are
inputs that raise anything but a one-line `UserError`; ``hangs`` take more than `HANG_S` seconds.
The results include examples of both. The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HANG_S = 10
#: share of inputs for slow targets: C libraries without coverage instrumentation do their work
SLOW = {"video": 0.1, "transport stream": 0.1, "stored frames": 0.5, "suite": 0.5, "rules": 0.5}


def fuzz(inputs: int, seed: int = 0) -> dict[str, Any]:
    """Fuzz all targets.

    Args:
        inputs: Total number of inputs.
        seed: Random seed.

    Returns:
        Total ``fuzzed``, ``tracebacks`` and ``hangs``, and the results of each target.
    """
    from benchmarks.reliability.fuzz_targets import TARGETS

    each = {name: SLOW.get(name, 1.0) for name in sorted(TARGETS)}
    share = inputs / sum(each.values())
    found: dict[str, Any] = {}
    for name, weight in each.items():
        runs = round(weight * share) + 1
        command = [
            sys.executable,
            "-m",
            "benchmarks.reliability.fuzz",
            "--target",
            name,
            "--inputs",
            str(runs),
            "--seed",
            str(seed),
        ]
        begin = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        result: dict[str, Any] = {"fuzzed": 0, "tracebacks": 0, "hangs": 0}
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                result = json.loads(line)
        if done.returncode:
            # the process itself ended: a crash in C code, or out of memory
            result["tracebacks"] += 1
            result["examples"] = [*result.get("examples", []), done.stderr[-2000:]]
        found[name] = result | {"seconds": round(time.monotonic() - begin, 1)}
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    total = {key: sum(one[key] for one in found.values()) for key in ("fuzzed", "tracebacks", "hangs")}
    return total | {"targets": found}


def fuzz_one(name: str, inputs: int, seed: int) -> None:
    """Fuzz one target in this process; atheris ends the process.

    Args:
        name: Name of the target.
        inputs: Number of inputs.
        seed: Random seed.
    """
    import atheris

    with atheris.instrument_imports(include=["prospect_core", "prospect_eval"]):
        from benchmarks.reliability.fuzz_targets import TARGETS, mutate
        from prospect_core.util.errors import UserError

    target = TARGETS[name]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    (corpus := folder / "corpus").mkdir()
    (place := folder / "place").mkdir()
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed{number}").write_bytes(data)
    result: dict[str, Any] = {"fuzzed": 0, "tracebacks": 0, "hangs": 0, "examples": []}

    def one(data: bytes) -> None:
        begin = time.monotonic()
        problem = ""
        try:
            target.read(place, data)
        except UserError as error:
            problem = "an error of several lines" if len(str(error).splitlines()) != 1 else ""
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"[:300]
        result["fuzzed"] += 1
        if problem:
            result["tracebacks"] += 1
        if time.monotonic() - begin > HANG_S:
            result["hangs"] += 1
            problem = problem or "a hang"
        if problem and len(result["examples"]) < 5:
            result["examples"].append(f"{problem} on {data[:400]!r}")
        if result["fuzzed"] >= inputs:
            print(json.dumps(result), flush=True)

    def mutator(data: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        made = mutate(rng, data) if rng.random() < 0.5 else atheris.Mutate(data, most)
        return made[:most]

    arguments = [
        sys.argv[0],
        f"-runs={inputs}",
        f"-seed={seed + 1}",
        "-max_len=20000",
        f"-timeout={3 * HANG_S}",
        str(corpus),
    ]
    atheris.Setup(arguments, one, custom_mutator=mutator)
    atheris.Fuzz()


def main() -> None:
    """Fuzz all targets, or with ``--target`` one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target")
    options = parser.parse_args()
    if options.target:
        fuzz_one(options.target, options.inputs, options.seed)
    else:
        print(json.dumps(fuzz(options.inputs, options.seed)))


if __name__ == "__main__":
    main()
