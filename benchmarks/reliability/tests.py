"""Measure the tests: which lines they run, and which changes of the code they detect.

    make bench-tests
    python -m benchmarks.reliability.tests --coverage .coverage --mutants mutants --output reports/tests.json

The inputs are the results of `coverage run -m pytest -m "not slow"` and `mutmut run`. ``coverage``
is the share of lines run in each package. ``mutants`` are small changes (an inverted comparison, a
number off by one) of the modules that all metrics depend on; ``killed`` counts those that make a
test fail or never end. The last line of output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from prospect_core.util.atomic import write_atomic
from prospect_core.util.errors import DataError
from prospect_core.util.json_io import dump_json, read_json
from prospect_eval.runs.environment import collect_run_environment

PACKAGES = ("prospect_core", "prospect_eval")
#: mutmut's exit codes for a mutant that a test failed on, and for one that timed out
FAILED, TIMED_OUT = 1, -24


def coverage_of(file: Path) -> dict[str, Any]:
    """Return the number of lines and the share of them that ran, for each package and for both.

    Raises:
        DataError: If the file does not exist.
    """
    from coverage import Coverage

    if not file.is_file():
        raise DataError(f"{file}: no such file; run `coverage run -m pytest` first")
    data = Coverage(data_file=str(file))
    data.load()
    lines: Counter[str] = Counter()
    run: Counter[str] = Counter()
    for package in PACKAGES:
        for path in sorted(Path(package).rglob("*.py")):
            _, statements, _, missing, _ = data.analysis2(str(path))
            for name in (package, "both"):
                lines[name] += len(statements)
                run[name] += len(statements) - len(missing)
    return {name: {"lines": lines[name], "share": round(run[name] / lines[name], 4)} for name in (*PACKAGES, "both")}


def mutants_of(folder: Path) -> dict[str, Any]:
    """Return the number of mutants and the share of them that were killed, for each file and in total.

    Raises:
        DataError: If there are no mutants or some were not tried.
    """
    out: dict[str, Counter[str]] = {"all": Counter()}
    for file in sorted(folder.rglob("*.py.meta")):
        codes = read_json(file)["exit_code_by_key"].values()
        if not codes:
            continue
        if None in codes:
            raise DataError(f"{file}: {list(codes).count(None)} mutants have not been tried; let `mutmut run` end")
        name = file.relative_to(folder).as_posix().removesuffix(".meta")
        out[name] = Counter(mutants=len(codes), killed=sum(code in (FAILED, TIMED_OUT) for code in codes))
        out["all"] += out[name]
    if not out["all"]:
        raise DataError(f"{folder}: no mutants there; run `mutmut run` first")
    return {name: {**count, "share": round(count["killed"] / count["mutants"], 4)} for name, count in out.items()}


def main() -> None:
    """Print one JSON object; also write it to ``--output``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coverage", type=Path, default=Path(".coverage"))
    parser.add_argument("--mutants", type=Path, default=Path("mutants"))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    try:
        result = {"coverage": coverage_of(options.coverage), "mutants": mutants_of(options.mutants)}
    except DataError as error:
        raise SystemExit(f"Error: {error}") from error
    if options.output:
        command = " ".join(["python -m benchmarks.reliability.tests", *sys.argv[1:]])
        write_atomic(
            options.output,
            dump_json({**result, "command": command, "environment": collect_run_environment()}, indent=1) + "\n",
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
