"""Where a cut falls: at which flash operation of which boot, and what the operation leaves behind.

A cut has an id, so that a failing one can be run again alone: `b2-o37-prefix-5` is operation 37 of
boot 2, torn after 5 bytes. Operations count from 0 in each boot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hil.errors import BenchError

_ID = re.compile(r"b(\d+)-o(\d+)-(before|after|(?:prefix|suffix|mask)-\d+)")


@dataclass(frozen=True)
class Cut:
    """`torn`: "before" (nothing of it is done), "after" (all of it), "prefix-N" or "suffix-N" (only
    the first or last N bytes are programmed or erased), "mask-SEED" (only random bits of it)."""

    boot: int
    operation: int
    torn: str = "before"

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise BenchError("BAD_CUT", f"{self.id} is not a cut: see hil/virtual/cut.py", 2)

    @property
    def id(self) -> str:
        return f"b{self.boot}-o{self.operation}-{self.torn}"

    @property
    def environment(self) -> dict[str, str]:
        """How the device is told (hil/virtual/device/virtual_cut.py)."""
        return {"CHARGEFLASH_CUT": f"{self.operation}:{self.torn}"}

    @staticmethod
    def parse(cut_id: str) -> Cut:
        found = _ID.fullmatch(cut_id)
        if not found:
            raise BenchError("BAD_CUT", f"{cut_id} is not a cut's id, like b2-o37-prefix-5", 2)
        return Cut(int(found[1]), int(found[2]), found[3])
