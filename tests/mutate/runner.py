"""Runs each mutant in a copy of the tree and says which test saw it.

The tree itself is never touched. A mutant that fails by a name or an import only, or that no test
can load, is faulty: it proves nothing about the tests.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutate.mutants import Mutant

KILLED, SURVIVED, FAULTY, HUNG = "killed", "SURVIVED", "faulty", "hung"
HANG_S = 300  # no list of tests needs a tenth of it
_LEFT_BEHIND = shutil.ignore_patterns(".*", "build", "typings", "__pycache__", "*.egg-info")
_SLIPS = (
    "NameError",
    "ImportError",
    "ModuleNotFoundError",
    "SyntaxError",
    "UnboundLocalError",
    "LookupError: run",  # no recorded signature for what the mutant made of a unit test
)
_OURS = (
    "import agent.update.install as a, bootloader_verify.ladder as b; print(a.__file__, b.__file__)"
)


@dataclass(frozen=True)
class Result:
    """`seen_by`: the first test that failed, or what else happened."""

    mutant: Mutant
    verdict: str
    seen_by: str


class Workshop:
    """A copy of the tree in which one mutant at a time is tried."""

    def __init__(self, source: Path, copy: Path) -> None:
        shutil.copytree(source, copy, ignore=_LEFT_BEHIND)
        self.root = copy.resolve()
        self._environment = dict(os.environ, PYTHONPATH=str(self.root), PYTHONDONTWRITEBYTECODE="1")
        self._check_imports()

    def _check_imports(self) -> None:
        """An editable install points at the real tree: the copy must come first."""
        done = self._python("-c", _OURS)
        if done.stdout.count(str(self.root)) != 2:
            raise RuntimeError("the copy is not what is imported: " + done.stdout + done.stderr)

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=HANG_S,
        )

    def test(self, files: Iterable[str]) -> subprocess.CompletedProcess[str]:
        """Run these test files up to the first failure, the same way each time."""
        options = "-x -q -rfE --tb=no -p no:cacheprovider -p no:xdist --hypothesis-seed=0"
        return self._python("-m", "pytest", *options.split(), *files)

    def try_out(self, mutant: Mutant) -> Result:
        path = self.root / mutant.file
        original = path.read_text()
        path.write_text(mutant.applied_to(original))
        try:
            done = self.test(mutant.tests)
        except subprocess.TimeoutExpired:
            return Result(mutant, HUNG, f"no end within {HANG_S} s")
        finally:
            path.write_text(original)
        return _judge(mutant, done)


def _judge(mutant: Mutant, done: subprocess.CompletedProcess[str]) -> Result:
    if done.returncode == 0:
        return Result(mutant, SURVIVED, "nothing")
    failed = re.search(r"^FAILED (?:.*/)?(\S+?\.py::\S+)(?: - (.*))?$", done.stdout, re.MULTILINE)
    if done.returncode != 1 or failed is None:
        return Result(mutant, FAULTY, done.stdout[-300:] + done.stderr[-300:])
    if (failed[2] or "").startswith(_SLIPS):
        return Result(mutant, FAULTY, failed[2])
    return Result(mutant, KILLED, failed[1].replace(".py::", "::"))


@contextmanager
def workshops(source: Path, jobs: int) -> Iterator[list[Workshop]]:
    """`jobs` copies of the tree, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="chargeflash-mutate-") as folder:
        yield [Workshop(source, Path(folder) / str(n)) for n in range(jobs)]


def baseline(shops: list[Workshop], mutants: list[Mutant]) -> str:
    """ "" if the unmutated tree passes every test that is named, else what failed."""
    files = sorted({test for mutant in mutants for test in mutant.tests})
    parts = [files[n :: len(shops)] for n in range(min(len(shops), len(files)))]
    with ThreadPoolExecutor(len(shops)) as pool:
        done = list(pool.map(Workshop.test, shops, parts))
    return "".join(one.stdout + one.stderr for one in done if one.returncode)


def run(shops: list[Workshop], mutants: list[Mutant]) -> Iterator[Result]:
    """The results in the order of the table, each as soon as it is known."""
    free: queue.Queue[Workshop] = queue.Queue()
    for shop in shops:
        free.put(shop)

    def one(mutant: Mutant) -> Result:
        shop = free.get()
        try:
            return shop.try_out(mutant)
        finally:
            free.put(shop)

    with ThreadPoolExecutor(len(shops)) as pool:
        yield from pool.map(one, mutants)


def table(results: list[Result]) -> Iterator[str]:
    """Markdown, one row a mutant."""
    yield "| switched off | mutant | seen by |"
    yield "|---|---|---|"
    for one in results:
        seen_by = one.seen_by if one.verdict == KILLED else f"**{one.verdict}**"
        yield f"| {one.mutant.rule} | `{one.mutant.name}` | {seen_by} |"
