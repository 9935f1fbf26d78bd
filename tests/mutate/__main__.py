"""Switch off each check and rule in turn; some test must fail every time.

    python -m tests.mutate [--jobs N] [NAME…]      all, or those whose name begins so

Exit code 0 only if every mutant was killed. The table is written to build/mutate.md as well.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from tests.mutate import mutants, runner

ROOT = Path(__file__).resolve().parent.parent.parent


def chosen(names: list[str]) -> list[mutants.Mutant]:
    every = mutants.everything()
    return [one for one in every if not names or one.name.startswith(tuple(names))]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args(arguments)
    todo, began = chosen(asked.names), time.monotonic()
    faults = mutants.problems(ROOT, todo) or ([] if todo else ["no mutant of that name"])
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 1
    with runner.workshops(ROOT, max(1, asked.jobs)) as shops:
        broken = runner.baseline(shops, todo)
        if broken:
            print("the tree without a mutant does not pass:\n" + broken, file=sys.stderr)
            return 1
        results = _reported(shops, todo)
    return _summed_up(results, time.monotonic() - began, whole=not asked.names)


def _reported(shops: list[runner.Workshop], todo: list[mutants.Mutant]) -> list[runner.Result]:
    results = []
    for one in runner.run(shops, todo):
        results.append(one)
        print(f"{len(results):4} {one.verdict:9} {one.mutant.name}: {one.seen_by}", file=sys.stderr)
    return results


def _summed_up(results: list[runner.Result], took_s: float, whole: bool) -> int:
    text = "\n".join(runner.table(results)) + "\n"
    print(text)
    if whole:
        (ROOT / "build").mkdir(exist_ok=True)
        (ROOT / "build" / "mutate.md").write_text(text)
    counts = Counter(one.verdict for one in results)
    print(", ".join(f"{n} {verdict}" for verdict, n in counts.items()) + f" in {took_s:.0f} s")
    return 0 if set(counts) == {runner.KILLED} else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
