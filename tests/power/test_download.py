"""Power cut at every flash operation of a download; another life over what flash holds ends it.

A failing cut is named "operation:torn" and can be run again by that name (`one_cut`). How bytes are
counted: `sent` are the blocks that left the server, in both lives, whether or not they arrived;
`bytes_fetched` is what the device was handed, index pages included.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from agent import protocol
from bootloader_verify.trailer import Layout
from tests.power.flash_model import PowerCut, RamNor, cuts
from tests.unit.artifacts import Bench, Made, noise

WINDOW = 4  # small, so that a bound of one window means something
# erase, block, write unit, slot: a block a sector, four sectors a block, four blocks a sector
GEOMETRIES = {
    "4k units of 32": (4096, 4096, 32, 49_152),
    "1k sectors": (1024, 4096, 8, 40_960),
    "shared sectors": (4096, 1024, 8, 24_576),
}
MAGIC = b"\x77\xc2\x95\xf3" * 4  # as good as any: only whether it is there counts


class Case:
    """An older, longer image with a trailer stands in the slot; some of it is in the new one too."""

    def __init__(self, geometry: str) -> None:
        self.erase, self.block, self.unit, self.slot = GEOMETRIES[geometry]
        size = 8 * self.block + 333 if self.erase <= self.block else 13 * self.block + 333
        image = noise(size)
        limit = Layout(self.slot, self.unit, self.erase).image_limit
        self.old = bytearray(noise(limit - 100, 2))
        for n in (2, 5, 8, 9, 10, 11):  # four in a row: a shared sector that stands
            part = image[n * self.block : (n + 1) * self.block]
            self.old[n * self.block : n * self.block + len(part)] = part
        self.made = Made(image, self.block)
        self.flash = RamNor(self.slot, self.erase, self.unit)
        self.flash.program(0, bytes(self.old) + b"\xff" * (-len(self.old) % self.unit))
        self.flash.program(self.slot - 32, MAGIC * 2)
        self.per_sector = max(1, self.erase // self.block)

    def life(self, flash: RamNor) -> Bench:
        return Bench(self.made, flash, WINDOW)

    def sector(self, number: int) -> range:
        """The blocks that are erased together with this one."""
        first = number - number % self.per_sector
        return range(first, first + self.per_sector)

    def blocks_at(self, offset: int) -> range:
        """The blocks that an operation at this offset of the slot may hurt."""
        return self.sector(offset // self.block)


class Cut:
    """Both lives around one cut: `first` was cut at operation `number`, `second` ended it."""

    def __init__(self, case: Case, number: int, torn: str) -> None:
        self.name = f"{number}:{torn}"
        self.case = case
        flash = case.flash.clone()
        self.first = case.life(flash)
        flash.cut_at(number, torn)
        with pytest.raises(PowerCut):
            self.first.serve()
        self.hit = case.blocks_at(flash.trace[-1][1])
        self.left = flash.image()
        blocks = self.first.download.blocks
        self.proved = {n for n in range(blocks.count) if blocks.is_done(n)}
        self.second = case.life(flash.clone()).serve()


def stands(cut: Cut, number: int) -> bool:
    start = number * cut.case.block
    want = cut.case.made.decoded[number]
    return cut.left[start : start + len(want)] == want


def check_nothing_half(cut: Cut) -> None:
    """At the cut: a trailer only over the old image, a first block only before a whole image."""
    limit, block, old = cut.first.limit, cut.case.block, bytes(cut.case.old)
    armed = cut.left[-16:] == MAGIC
    assert not armed or cut.left[: len(old)] == old, f"{cut.name}: a trailer over a changed slot"
    others = range(1, len(cut.case.made.blocks))
    whole = all(stands(cut, n) for n in others)
    assert not stands(cut, 0) or whole, f"{cut.name}: a first block before the others"
    behind = max(cut.case.erase, block)
    if cut.left[:block] == old[:block]:
        assert cut.left[behind : len(old)] == old[behind:], f"{cut.name}: old head, new body"
    assert len(cut.left[limit:]) == cut.case.slot - limit


def check_ended(cut: Cut) -> None:
    """The second life: byte-exact, nothing failed, no write unit programmed twice."""
    download = cut.second.download
    assert download.complete and download.error is None, cut.name
    assert cut.second.is_exact(), f"{cut.name}: not byte-exact"
    erased = b"\xff" * (cut.case.slot - cut.second.limit)
    assert cut.second.slot[cut.second.limit :] == erased, f"{cut.name}: a trailer is left"
    # FLASH_REWRITE, FLASH_READBACK and damage would all be counted here.
    assert download._fails.total == 0, f"{cut.name}: flash refused"


def check_bytes(cut: Cut) -> None:
    """What was proved is not fetched again, but for the sector that the cut hit.

    And for the first sector when only block 0 was missing: nobody can tell whether its write began.
    """
    case, made = cut.case, cut.case.made
    again = cut.proved & set(cut.second.sent)
    only_first = all(stands(cut, n) for n in range(1, len(made.blocks)))
    allowed = set(cut.hit) | (set(case.sector(0)) if only_first else set())
    assert again <= allowed, f"{cut.name}: fetched again {again - allowed}"
    artifact = sum(map(len, made.blocks)) + sum(map(len, made.pages()))
    window, sector = WINDOW * case.block, case.per_sector * case.block
    fetched = cut.first.download.bytes_fetched + cut.second.download.bytes_fetched
    assert fetched <= artifact + window, cut.name
    sent = sum(len(made.blocks[n]) for n in cut.first.sent + cut.second.sent)
    assert sent <= artifact + window + sector, cut.name


CHECKS = (check_nothing_half, check_ended, check_bytes)


def one_cut(geometry: str, number: int, torn: str) -> None:
    """Run one failing cut again."""
    cut = Cut(Case(geometry), number, torn)
    for check in CHECKS:
        check(cut)


def everywhere(geometry: str, *checks: Callable[[Cut], None], some: tuple[str, ...] = ()) -> int:
    """All cuts (or the torn ways `some` of each operation); their number."""
    case, count = Case(geometry), 0
    whole = case.life(case.flash.clone()).serve()
    for number, torn in cuts(whole.flash.trace):
        if not some or torn in some:
            cut = Cut(case, number, torn)
            for check in checks:
                check(cut)
            count += 1
    return count


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_whatever_is_cut_the_next_life_ends_it(geometry: str) -> None:
    assert everywhere(geometry, *CHECKS) > 400


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_many_cuts_one_after_the_other(geometry: str) -> None:
    """Up to four lives end by a cut, chosen by a seed; the next one ends the download."""
    case = Case(geometry)
    ways = (
        "before",
        "after",
        "prefix-8",
        "prefix-700",
        "suffix-64",
        "mask-1",
        "mask-5",
        "unstable",
    )
    for seed in range(120):
        chance, flash = random.Random(seed), case.flash.clone()
        for _ in range(4):
            flash.cut_at(chance.randrange(40), chance.choice(ways))
            try:
                case.life(flash).serve()
            except PowerCut:
                flash = flash.clone()
        flash = flash.clone()
        last = case.life(flash).serve()
        assert last.download.complete and last.is_exact(), seed
        assert last.download._fails.total == 0, seed


def test_a_cut_while_the_scan_runs_costs_nothing() -> None:
    """A scan writes nothing: all of it is there again."""
    case = Case("4k units of 32")
    bench = case.life(case.flash.clone())
    before = bench.flash.image()
    for get in bench.gets():
        assert get.kind == protocol.KIND_PAGE
    assert bench.flash.image() == before and bench.flash.operations == 0
