"""What the campaign counts, how it is added up over test processes, and the report."""

from __future__ import annotations

import binascii
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.power.geometry import Geometry
from tests.power.judge import Witness

CAMPAIGN = "power cuts"  # the property under which a test hands in its tally
TEARS = ("before", "prefix", "suffix", "mask", "unstable", "after")
_DEPTHS = {"1": "single", "2": "double", "3": "triple"}


class Tally:
    """cells: "act tear", "scene depth", "kind depth" -> cuts. states: hashes of the flash's state
    after a cut. erases: depth -> (whole life, worst with cuts)."""

    def __init__(self) -> None:
        self.cells: Counter[str] = Counter()
        self.states: set[int] = set()
        self.boots_max = 0
        self.erases: dict[str, list[int]] = {}
        self.violations: list[str] = []

    def wrong(self, cut: str, what: str) -> None:
        """A violation at this cut."""
        self.violations.append(f"{cut}  {what}")

    def add(
        self,
        geometry: Geometry,
        scene: str,
        act: str,
        cuts: tuple[tuple[int, str], ...],
        witness: Witness,
        state: tuple[Any, ...],
    ) -> None:
        depth, tear = str(len(cuts)), cuts[-1][1].partition("-")[0]
        for key in (f"act|{act}|{tear}", f"scene|{scene}|{depth}", f"kind|{geometry.kind}|{depth}"):
            self.cells[key] += 1
        self.states.add(hash_of(state))
        self.boots_max = max(self.boots_max, witness.boots)

    def fault(self, name: str) -> None:
        """One fault that is no power cut."""
        self.cells[f"fault|{name}|1"] += 1

    def wear(self, depth: int, whole: int, erases: int) -> None:
        """Erases of one update: without a cut, and of this one."""
        most = self.erases.setdefault(str(depth), [0, 0])
        most[0] = max(most[0], whole)
        most[1] = max(most[1], erases)

    def cuts(self, depth: int) -> int:
        return sum(n for key, n in self.cells.items() if _is(key, "scene", str(depth)))

    def as_json(self) -> str:
        fields = {
            "cells": self.cells,
            "states": sorted(self.states),
            "boots_max": self.boots_max,
            "erases": self.erases,
            "violations": self.violations,
        }
        return json.dumps(fields)

    def take(self, text: str) -> None:
        """Add another one's numbers."""
        fields = json.loads(text)
        self.cells.update(fields["cells"])
        self.states.update(fields["states"])
        self.boots_max = max(self.boots_max, fields["boots_max"])
        self.violations += fields["violations"]
        for depth, (whole, worst) in fields["erases"].items():
            self.wear(int(depth), whole, worst)

    def lines(self) -> Iterator[str]:
        """The report."""
        singles, doubles, triples = (self.cuts(depth) for depth in (1, 2, 3))
        yield f"power cuts: {singles:,} single, {doubles:,} double, {triples:,} triple"
        yield f"violations: {len(self.violations)}"
        yield f"states of the flash after a cut: {len(self.states):,}"
        yield f"boots from the last cut to rest: at most {self.boots_max}"
        for depth, (whole, worst) in sorted(self.erases.items()):
            yield f"erases an update: {whole} without a cut, at most {worst} with {depth}"
        yield from _table("by act (of the last cut) and tear", self._pick("act"), TEARS)
        yield from _table("by scene", self._pick("scene"), tuple(_DEPTHS), _DEPTHS)
        yield from _table("by flash", self._pick("kind"), tuple(_DEPTHS), _DEPTHS)
        faults = self._pick("fault")
        if faults:
            yield from _table("faults that are no cut", faults, ("1",), {"1": "faults"})

    def _pick(self, what: str) -> dict[str, Counter[str]]:
        rows: dict[str, Counter[str]] = {}
        for key, n in self.cells.items():
            first, row, column = key.split("|")
            if first == what:
                rows.setdefault(row, Counter())[column] += n
        return rows


def summary(tallies: Iterable[str], kept: Path) -> list[str]:
    """Lines for the end of a test run, also written to the file `kept`; none if nothing was counted."""
    tally, some = Tally(), False
    for text in tallies:
        tally.take(text)
        some = True
    lines = list(tally.lines()) if some else []
    if some:
        kept.parent.mkdir(exist_ok=True)
        kept.write_text("\n".join(lines) + "\n")
    return lines


def hash_of(state: tuple[Any, ...]) -> int:
    """Alike in every process."""
    return binascii.crc32(repr(state).encode())


def _is(key: str, what: str, column: str) -> bool:
    parts = key.split("|")
    return parts[0] == what and parts[2] == column


def _table(
    title: str,
    rows: dict[str, Counter[str]],
    columns: Iterable[str],
    names: dict[str, str] | None = None,
) -> Iterator[str]:
    names = names or {}
    columns = list(columns)
    yield ""
    yield f"{title:34}" + "".join(f"{names.get(column, column):>10}" for column in columns)
    for row, counts in rows.items():
        yield f"  {row:32}" + "".join(f"{counts[column]:10,}" for column in columns)
