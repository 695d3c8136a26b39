"""What the tests are worth: which lines they run, and which changes of the code they notice. The last line is one JSON object.

    make bench-tests
    python -m benchmarks.reliability.tests --coverage .coverage --mutants mutants --output reports/tests.json

Reads what `coverage run -m pytest -m "not slow"` and `mutmut run` left behind. ``coverage`` is the share of lines run in each
package; ``mutants`` are small changes (a comparison turned round, a number off by one) of what all numbers hang on, and
``killed`` those that made a test fail or never end.
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
#: what mutmut notes of a mutant that a test failed on, and of one that used up its time
FAILED, TIMED_OUT = 1, -24


def coverage_of(file: Path) -> dict[str, Any]:
    """Lines, and the share of them that were run, in each package and in both."""
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
    """Mutants, and the share of them that were killed, in each file and in all."""
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
