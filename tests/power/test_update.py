"""Power cut at every flash operation of an update's whole life: there is always a way on.

Each cut is run with the real boot stage and updater; then the power comes back and the charger goes
on alone. A failing cut is named "operation:torn" and can be run again by that name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bootloader_verify import decision
from bootloader_verify.counter import EpochCounter
from bootloader_verify.slot import Slot, region
from tests.power.flash_model import PowerCut, RamNor, cuts
from tests.power.rig import Life, World, board, factory, image, live

OLD = image("1.0.0")
GOOD = image("1.1.0", epoch=2)
ILL = image("1.2.0")
_ONLY = os.environ.get("CHARGEFLASH_CUT", "")
GEOMETRIES = {"1k": (1024, 8, 16_384), "4k": (4096, 8, 32_768), "32B units": (4096, 32, 32_768)}


def world_with(geometry: str, offered: bytes, encoding: str = "raw") -> World:
    world = World(board(*GEOMETRIES[geometry]), ill={"1.2.0+0"})
    world.publish(offered, 1, encoding)
    return world


def block_size(geometry: str) -> int:
    return 1024 if geometry == "1k" else 4096


def again(world: World) -> World:
    """The same surroundings, nothing heard yet."""
    return World(world.map, offer=world.offer, artifacts=world.artifacts, ill=world.ill)


def thinned(trace: Any, full: bool) -> Iterator[tuple[int, str]]:
    """All cuts, or without --full before, after, one torn prefix, suffix and mask of each.

    CHARGEFLASH_CUT=28:mask-0 runs one cut alone, by the name that its failure gave.
    """
    if _ONLY:
        yield int(_ONLY.partition(":")[0]), _ONLY.partition(":")[2]
        return
    for number, torn in cuts(trace):
        kind, _, seed = torn.partition("-")
        some = {"before", "after", "unstable", "mask-0", "mask-1", "prefix-1", "prefix-8"}
        if full or torn in some or (kind == "suffix" and int(seed) % 1024 == 0):
            yield number, torn


def sweep(geometry: str, offered: bytes, full: bool, judge: Callable[..., None]) -> int:
    """One life cut at every operation, then lives until rest; `judge(flash, before, after, life, cut,
    image_ok as the cut left it)`."""
    world = world_with(geometry, offered)
    start = factory(world.map, OLD)
    whole = start.clone()
    live(whole, again(world))
    count = 0
    for number, torn in thinned(whole.trace, full):
        cut = f"{number}:{torn}"
        flash, before, after = start.clone(), again(world), again(world)
        flash.cut_at(number, torn)
        try:
            live(flash, before)
            raise AssertionError(f"the cut {cut} did not happen")
        except PowerCut:
            pass
        mended = flash.clone()
        image_ok = Slot(mended, world.map, "b").state().image_ok
        life = live(mended, after)
        judge(mended, before, after, life, cut, image_ok)
        count += 1
    assert _ONLY or count >= 3 * len(whole.trace)
    return count


def running(life: Life) -> tuple[str, str, tuple[int, ...]]:
    assert life.booted.slot is not None and life.booted.verified is not None
    return life.booted.mode, life.booted.slot.name, tuple(life.booted.verified.version)


def epoch(flash: RamNor, world: World) -> int | None:
    return EpochCounter(region(flash, world.map, "epoch")).read()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_good_release_arrives_whatever_is_cut(geometry: str, full: bool) -> None:
    blocks = -(-len(GOOD) // block_size(geometry))

    def judge(
        flash: RamNor, before: World, after: World, life: Life, cut: str, image_ok: str
    ) -> None:
        boots = before.boots + after.boots
        assert all(b.slot is not None for b in boots), cut  # I2: something always boots
        version = running(life)[2]
        reported = after.statuses[-1]["status"]
        if version == (1, 1, 0, 0):
            assert reported == "Installed", (cut, reported)
            assert epoch(flash, after) == 2, cut
        else:
            # The one torn write that costs an update: that of the confirmation itself.
            assert before.boots[-1].mode == decision.TRIAL and image_ok == "bad", cut
            assert reported == "InstallVerificationFailed", (cut, reported)
            assert epoch(flash, after) == 1, cut
        # What stands in the slot is what was signed, the rest erased (I9).
        slot = Slot(flash, after.map, "b")
        if version == (1, 1, 0, 0):
            data = bytearray(slot.layout.image_limit)
            slot.region.read(0, data)
            assert bytes(data) == GOOD + b"\xff" * (len(data) - len(GOOD)), cut
        # Resume: only the block that the cut tore is fetched twice.
        assert len(before.fetched) + len(after.fetched) <= blocks + 1, cut

    sweep(geometry, GOOD, full, judge)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_bad_release_goes_back_whatever_is_cut(geometry: str, full: bool) -> None:
    def judge(
        flash: RamNor, before: World, after: World, life: Life, cut: str, image_ok: str
    ) -> None:
        assert all(b.slot is not None for b in before.boots + after.boots), cut
        assert running(life) == (decision.CONFIRMED, "a", (1, 0, 0, 0)), cut
        last = after.statuses[-1]
        assert last["status"] == "InstallationFailed", (cut, last)
        assert last["reason"] == "TrialBootFailed", (cut, last)
        trials = [b for b in before.boots + after.boots if b.mode == decision.TRIAL]
        assert len(trials) <= 4, cut  # three attempts and the one that the power cut took
        assert epoch(flash, after) == 1, cut

    sweep(geometry, ILL, full, judge)


def test_the_words_of_a_good_update_are_ocpps_golden_trace() -> None:
    world = world_with("1k", GOOD)
    live(factory(world.map, OLD), world)
    assert world.words(101) == [
        "Downloading",
        "Downloaded",
        "SignatureVerified",
        "Installing",
        "InstallRebooting",
        "Installed",
    ]
    assert [e["event"] for e in world.events] == ["OfferAccepted", "FirmwareUpdated"]


def test_the_words_of_a_failed_trial() -> None:
    world = world_with("1k", ILL)
    life = live(factory(world.map, OLD), world)
    assert world.words(101)[-2:] == ["InstallRebooting", "InstallationFailed"]
    assert world.statuses[-1]["detail"] == "contactor reads closed with its coil off"
    assert [b.mode for b in world.boots] == ["confirmed", "trial", "trial", "trial", "confirmed"]
    assert running(life) == ("confirmed", "a", (1, 0, 0, 0))


def test_at_rest_nothing_is_written() -> None:
    world = world_with("1k", GOOD)
    flash = factory(world.map, OLD)
    live(flash, world)
    operations = flash.operations
    for cause in ("power", "soft", "watchdog", "hard"):
        live(flash, world, cause)
    assert flash.operations == operations
