"""The boot stage alone: what it checks beyond the ladder and the table, right before it hands over."""

from __future__ import annotations

from typing import Any

import pytest

from bootloader_verify import boot, decision, keyset, trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import FLASH_FAILED, READ_FAILED, FlashError
from bootloader_verify.keyset import Keyset
from bootloader_verify.slot import Slot, region
from tests.power.flash_model import RamNor
from tests.power.rig import RELEASE, Life, World, armed, board, factory, image
from tests.unit import containers
from tests.vectors import signing_DO_NOT_USE

GOOD = image("1.1.0")


def test_t46_bytes_that_change_between_verification_and_mount_are_not_mounted(
    flash: RamNor, world: World
) -> None:
    armed(flash, world, GOOD)
    map_ = flash.map
    start_b = world.map.REGIONS["slot_b"][0]

    def other_bytes(offset: int, size: int) -> memoryview:
        view = map_(offset, size)
        if offset == start_b:
            view[4000] ^= 1
        return view

    flash.map = other_bytes  # type: ignore[method-assign]
    booted = Life(flash, world, "hard").booted
    assert (booted.mode, booted.codes["b"]) == (decision.CONFIRMED, "CHANGED")
    assert booted.slot is not None and booted.slot.name == "a"


def test_t54_bytes_that_hide_in_front_of_the_trailer_are_refused(
    flash: RamNor, world: World
) -> None:
    armed(flash, world, GOOD)
    slot = Slot(flash, world.map, "b")
    flash.flip(slot.region.offset + slot.layout.image_limit + 8, 0x01)
    booted = Life(flash, world, "hard").booted
    assert (booted.mode, booted.codes["b"]) == (decision.CONFIRMED, "NOT_ERASED")


def test_t22_a_trial_whose_epoch_is_too_far_away_does_not_start() -> None:
    world = World(board())
    flash = factory(world.map, image("1.0.0"))
    far = image("1.1.0", epoch=18)
    slot = Slot(flash, world.map, "b")
    slot.region.program(0, far + b"\xff" * (-len(far) % world.map.WRITE))
    trailer.arm(slot.region, slot.layout, 2)
    booted = Life(flash, world, "hard").booted
    assert (booted.mode, booted.codes["b"]) == (decision.CONFIRMED, "EPOCH_JUMP")


@pytest.mark.parametrize("fault", ["silent", "told"])
def test_t49_without_a_mark_that_reads_back_there_is_no_trial(
    flash: RamNor, world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    armed(flash, world, GOOD)
    program = flash.program

    def lame(offset: int, data: Any) -> None:
        if fault == "told":
            program(offset, bytes(len(data)))  # the flash keeps something else

    if fault == "silent":
        monkeypatch.setattr(trailer, "mark_attempt", lambda *_args: None)
    else:
        flash.program = lame  # type: ignore[method-assign]
    booted = Life(flash, world, "hard").booted
    assert booted.mode == decision.CONFIRMED and booted.attempt == 0


# --- what a slot asks of its image ------------------------------------------------------------


@pytest.fixture
def live_signer(monkeypatch: pytest.MonkeyPatch) -> None:
    """containers.image signs whatever a test bends."""
    monkeypatch.setattr(containers, "signer", signing_DO_NOT_USE.sign)


def put(flash: RamNor, world: World, data: bytes, name: str = "b", counter: int = 2) -> Slot:
    """An armed image in that slot, whoever brought it there."""
    slot = Slot(flash, world.map, name)
    rest = bytes([flash.erased]) * (-len(data) % flash.write_bytes)
    slot.region.program(0, data + rest)
    trailer.arm(slot.region, slot.layout, counter)
    return slot


def boots(flash: RamNor, world: World, cause: str = "hard") -> boot.Booted:
    return boot.Boot(flash, world.map, world.keys, cause).select()


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"vid": bytes(16)}, "WRONG_HW"),
        ({"cid": bytes(16)}, "WRONG_HW"),
        ({"revisions": b"B"}, "WRONG_HW"),
        ({"least_agent": (boot.VERSION[0], boot.VERSION[1] + 1, 0, 0)}, "DEPENDENCY"),
        ({"epoch": 0}, "ROLLBACK"),
        ({"bent": {"flags": 0x100, "load_addr": 0}}, "WRONG_HW"),
    ],
)
def test_t21_t27_t28_the_boot_stage_asks_all_that_the_agent_asks(
    flash: RamNor, world: World, live_signer: None, claims: dict[str, Any], code: str
) -> None:
    put(flash, world, containers.image(**claims))
    booted = boots(flash, world)
    assert (booted.mode, booted.codes["b"]) == (decision.CONFIRMED, code)


def test_t28_a_fixed_image_boots_from_its_own_slot(
    flash: RamNor, world: World, live_signer: None
) -> None:
    start = world.map.REGIONS["slot_b"][0]
    put(flash, world, containers.image(bent={"flags": 0x100, "load_addr": start}))
    assert boots(flash, world).mode == decision.TRIAL


def test_what_is_handed_over_is_the_payload(flash: RamNor, world: World, live_signer: None) -> None:
    put(flash, world, containers.image(bent={"hdr_size": 64}))
    booted = boots(flash, world)
    assert booted.payload is not None and bytes(booted.payload) == containers.PAYLOAD


def test_an_image_that_reaches_into_the_trailers_sectors_does_not_boot(
    flash: RamNor, world: World, live_signer: None
) -> None:
    layout = Slot(flash, world.map, "b").layout
    around = len(containers.image()) - len(containers.PAYLOAD) + 8  # DER may be longer by a few
    for size, code in ((layout.image_limit - around, ""), (layout.image_limit, "BAD_SIZE")):
        one = flash.clone()
        put(one, world, containers.image(payload=bytes(size)))
        assert boots(one, world).codes["b"] == code, size


def test_a_flash_whose_erased_bytes_are_zero(world: World, live_signer: None) -> None:
    flash = RamNor(world.map.FLASH_SIZE, world.map.ERASE, world.map.WRITE, 0)
    put(flash, world, containers.image())
    assert boots(flash, world).mode == decision.TRIAL


# --- epochs and revocations that came later ---------------------------------------------------


def raised(flash: RamNor, world: World, epoch: int) -> None:
    EpochCounter(region(flash, world.map, "epoch")).raise_to(epoch)


def revoking(world: World, threshold: int = 1) -> Keyset:
    """The keyset after the one release key was revoked."""
    limits = dict.fromkeys(keyset.ROLES, threshold)
    return Keyset(2, world.keys.keys, limits, (RELEASE.key_id,))


def test_t21_the_last_confirmed_image_boots_below_a_raised_epoch(
    flash: RamNor, world: World
) -> None:
    raised(flash, world, 2)
    booted = boots(flash, world)
    assert (booted.mode, booted.codes["a"]) == (decision.LAST_CONFIRMED, "ROLLBACK")
    put(flash, world, image("1.1.0", epoch=2))
    assert boots(flash, world).mode == decision.TRIAL


def test_t36_the_last_confirmed_image_boots_though_its_key_was_revoked(
    flash: RamNor, world: World
) -> None:
    world.keys = revoking(world)
    booted = boots(flash, world)
    assert (booted.mode, booted.codes["a"]) == (decision.LAST_CONFIRMED, "REVOKED")


def test_t36_everything_but_its_age_is_asked_again(flash: RamNor, world: World) -> None:
    """One signature where the keyset wants two is no matter of age."""
    world.keys = revoking(world, threshold=2)
    assert boots(flash, world).mode == decision.RECOVERY


def test_only_a_confirmed_image_is_forgiven(flash: RamNor, world: World) -> None:
    Slot(flash, world.map, "a").region.erase(0, 1024)
    put(flash, world, GOOD)
    world.keys = revoking(world)
    booted = boots(flash, world)
    assert (booted.mode, booted.codes["b"]) == (decision.RECOVERY, "REVOKED")


def test_t46_a_forgiven_image_that_changes_before_the_mount_is_not_mounted(
    flash: RamNor, world: World
) -> None:
    raised(flash, world, 2)
    map_, asked = flash.map, []

    def other_bytes(offset: int, size: int) -> memoryview:
        asked.append(offset)
        assert len(asked) < 5, "the same slot again and again"
        view = map_(offset, size)
        view[4000] ^= 1
        return view

    flash.map = other_bytes  # type: ignore[method-assign]
    booted = boots(flash, world)
    assert (booted.mode, booted.codes["a"]) == (decision.RECOVERY, "CHANGED")


def test_t24_a_damaged_epoch_keeps_no_trial_from_booting(flash: RamNor, world: World) -> None:
    at, size = world.map.REGIONS["epoch"]
    for offset in (0, 4, size // 2, size // 2 + 4):
        flash.flip(at + offset, 0x01)
    put(flash, world, image("1.1.0", epoch=40))
    booted = boots(flash, world)
    assert (booted.mode, booted.epoch) == (decision.TRIAL, None)


def test_t24_an_epoch_that_cannot_be_read_is_damage_and_not_0(flash: RamNor, world: World) -> None:
    at, size = world.map.REGIONS["epoch"]
    read = flash.read

    def broken(offset: int, buf: Any) -> None:
        if at <= offset < at + size:
            raise FlashError(READ_FAILED, "worn")
        read(offset, buf)

    flash.read = broken  # type: ignore[method-assign]
    booted = boots(flash, world)
    assert (booted.mode, booted.epoch) == (decision.CONFIRMED, None)


# --- marks and notes --------------------------------------------------------------------------


def test_the_boot_stage_asks_for_nothing_that_the_flash_refuses(
    flash: RamNor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mark and note is written once: a chip that would not refuse a second write is no excuse."""
    put(flash, world, GOOD)
    program, refused = flash.program, []

    def watched(offset: int, data: Any) -> None:
        try:
            program(offset, data)
        except FlashError:
            refused.append(offset)
            raise

    flash.program = watched  # type: ignore[method-assign]
    boots(flash, world, "power")
    slot = Slot(flash, world.map, "b")
    trailer.note_reset(slot.region, slot.layout, slot.state(), "power")  # and power went again
    modes = [boots(flash, world, cause).mode for cause in ("power", "soft", "hard", "watchdog")]
    assert modes == [decision.TRIAL] * 3 + [decision.CONFIRMED]
    assert boots(flash, world, "power").mode == decision.CONFIRMED
    assert refused == []


def test_a_note_that_cannot_be_written_costs_the_attempt_and_not_the_slot(
    flash: RamNor, world: World
) -> None:
    slot = put(flash, world, GOOD)
    boots(flash, world, "power")
    program, worn = flash.program, slot.region.offset + slot.layout.note(0)

    def partly(offset: int, data: Any) -> None:
        if offset == worn:
            raise FlashError(FLASH_FAILED, "worn")
        program(offset, data)

    flash.program = partly  # type: ignore[method-assign]
    booted = boots(flash, world, "power")
    assert (booted.mode, booted.attempt) == (decision.TRIAL, 2)


# --- a new device -----------------------------------------------------------------------------


def test_t22_on_a_device_that_stored_no_epoch_only_a_trial_is_bound(world: World) -> None:
    """The factory's first image tells the epoch, confirmed or with an image_ok that went bad."""
    far = image("1.1.0", epoch=40)
    flash = factory(world.map, far, epoch=0)
    assert boots(flash, world).mode == decision.CONFIRMED
    slot = Slot(flash, world.map, "a")
    flash.flip(slot.region.offset + slot.layout.image_ok, 0x10)
    assert boots(flash, world).mode == decision.LAST_RESORT
    raised(flash, world, 1)
    booted = boots(flash, world)
    assert (booted.mode, booted.codes["a"]) == (decision.RECOVERY, "EPOCH_JUMP")


def test_t22_a_trial_of_a_far_epoch_on_a_new_device(world: World) -> None:
    flash = RamNor(world.map.FLASH_SIZE, world.map.ERASE, world.map.WRITE)
    put(flash, world, image("1.1.0", epoch=17))
    assert boots(flash, world).codes["b"] == "EPOCH_JUMP"
    flash = RamNor(world.map.FLASH_SIZE, world.map.ERASE, world.map.WRITE)
    put(flash, world, image("1.1.0", epoch=16))
    assert boots(flash, world).mode == decision.TRIAL


def test_a_confirmed_image_far_above_the_stored_epoch_boots(world: World) -> None:
    flash = factory(world.map, image("1.0.0", epoch=40), epoch=1)
    assert boots(flash, world).mode == decision.CONFIRMED
