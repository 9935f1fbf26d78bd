"""What a mutant is, and the list of all: each switches off one check, one rule or one step.

A mutant names the text that it replaces. That text must stand exactly once in its file, so a table
that no longer fits the code fails instead of testing nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in `file`; one of `tests` (files, the quick ones first) must fail.

    rule: what is switched off, with its number in THREATS ("T21") where it has one.
    """

    name: str
    file: str
    rule: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied_to(self, source: str) -> str:
        """The mutated source. ValueError when the table does not fit it."""
        found = source.count(self.old)
        if found != 1:
            raise ValueError(f"{self.name}: its text stands {found} times in {self.file}")
        mutated = source.replace(self.old, self.new)
        compile(mutated, self.file, "exec")
        return mutated


class Of:
    """Makes the mutants of one file, all seen by the same tests unless one names its own."""

    def __init__(self, file: str, *tests: str) -> None:
        self.file = file
        self.tests = tests

    def __call__(self, name: str, rule: str, old: str, new: str, *tests: str) -> Mutant:
        full = f"{Path(self.file).stem}.{name}"
        return Mutant(full, self.file, rule, old, new, tests or self.tests)

    def off(self, name: str, rule: str, check: str, *tests: str) -> Mutant:
        """The `if` never holds: what it refuses goes on."""
        return self(name, rule, check, "if False:", *tests)


def everything() -> list[Mutant]:
    """All mutants, from the container's first byte to the agent."""
    from tests.mutate import (
        of_agent,
        of_boot,
        of_chips,
        of_container,
        of_keys,
        of_signatures,
        of_storage,
        of_trailer,
    )

    rules = (of_container, of_keys, of_signatures, of_boot, of_trailer)
    tables = (*rules, of_storage, of_chips, of_agent)
    return [mutant for table in tables for mutant in table.MUTANTS]


def problems(root: Path, mutants: list[Mutant]) -> list[str]:
    """Why the table does not fit the tree at `root`; empty if it does."""
    found, names = [], set()
    for mutant in mutants:
        if mutant.name in names:
            found.append(f"{mutant.name}: twice")
        names.add(mutant.name)
        found += [f"{mutant.name}: no {t}" for t in mutant.tests if not (root / t).is_file()]
        try:
            mutant.applied_to((root / mutant.file).read_text())
        except (OSError, ValueError, SyntaxError) as err:
            found.append(str(err))
    return found
