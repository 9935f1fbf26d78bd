"""Power cuts through the STM32 port, at every operation of the chip's flash.

Internal flash is swept as if every torn word could be read. With ECC it cannot: the last test shows
what that does, and why the port takes internal flash only where the board says so.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bootloader_verify import boot, decision, trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import FLASH_UNSUPPORTED, FlashError
from bootloader_verify.flash import Region
from bootloader_verify.slot import Slot
from bootloader_verify.trailer import SET, Layout, TrailerState
from tests.power.flash_model import PowerCut, sweep
from tests.unit import containers
from tests.unit.stm32_chip import KIB, Board, Chip, FaultingMap, HardFault, port

KINDS = ["h743 internal", "h743 qspi"]
Act = Callable[[Chip], None]


def board_of(kind: str, *sectors: tuple[str, int]) -> Board:
    internal = kind == "h743 internal"
    return Board(128 * KIB if internal else 4 * KIB, 32, sectors, internal)


class Bench:
    """A chip with one region over all of it; `chip` moves on with `do`."""

    def __init__(self, kind: str) -> None:
        self.board = board_of(kind, ("slot_a", 2))
        self.chip = Chip(kind, self.board.FLASH_SIZE)
        self.layout = Layout(self.board.FLASH_SIZE, 32, self.board.ERASE)

    def region(self, chip: Chip) -> Region:
        return Region(port(chip, self.board), 0, self.board.FLASH_SIZE)

    def do(self, act: Act, judge: Callable[[Chip, str], None]) -> int:
        """Sweep `act`, then do it; the number of cuts. No word is ever programmed twice."""

        def look(after: Chip, cut: str) -> None:
            torn = set(after.faulty)
            judge(after, cut)
            assert after.faulty <= torn, cut

        count = sweep(self.chip, act, look, unstable=False)
        act(self.chip)
        assert not self.chip.faulty
        return count

    # --- a trailer's life -------------------------------------------------------------------------
    def state(self, chip: Chip) -> TrailerState:
        return trailer.parse(self.region(chip).read, self.layout)

    def arm(self, chip: Chip) -> None:
        trailer.arm(self.region(chip), self.layout, 5, 2)

    def mark(self, chip: Chip) -> None:
        trailer.mark_attempt(self.region(chip), self.layout, self.state(chip))

    def note(self, cause: str) -> Act:
        return lambda chip: trailer.note_reset(
            self.region(chip), self.layout, self.state(chip), cause
        )

    def confirm(self, chip: Chip) -> None:
        trailer.confirm(self.region(chip), self.layout, self.state(chip))

    def erase(self, chip: Chip) -> None:
        trailer.erase(self.region(chip), self.layout)


# --- the epoch --------------------------------------------------------------------------------------
def epoch(bench: Bench, chip: Chip) -> EpochCounter:
    return EpochCounter(bench.region(chip))


def raise_through(bench: Bench, old: int, new: int) -> int:
    def judge(after: Chip, cut: str) -> None:
        assert epoch(bench, after).read() in ((new,) if cut == "whole" else (old, new)), cut
        epoch(bench, after).raise_to(new)
        assert epoch(bench, after).read() == new, cut

    return bench.do(lambda chip: epoch(bench, chip).raise_to(new), judge)


@pytest.mark.parametrize("kind", KINDS)
def test_t23_a_cut_raise_of_the_epoch_leaves_old_or_new(kind: str) -> None:
    bench = Bench(kind)
    old = cuts = 0
    for new in (1, 2, 17):
        cuts += raise_through(bench, old, new)
        old = new
    assert cuts >= 240


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("closed", [0, 1])
def test_t23_a_cut_raise_that_has_to_erase_a_half_first(kind: str, closed: int) -> None:
    """A half that ends in a torn record is erased before it is used; the other one still counts."""
    bench = Bench(kind)
    epoch(bench, bench.chip).raise_to(3)
    region = bench.region(bench.chip)
    region.program((closed + 1) * bench.board.ERASE - 32, bytes(32))
    raise_through(bench, 3, 4)
    assert any(one[0] == "erase" for one in bench.chip.trace)


# --- the trailer ------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_a_trailers_life_cut_at_every_operation(kind: str) -> None:
    """Each step is done, not done, or seen to be bad; and whatever is left, a new install works."""
    bench = Bench(kind)
    power, watchdog = bench.note(trailer.POWER), bench.note(trailer.WATCHDOG)
    for act in (bench.arm, bench.mark, power, bench.mark, watchdog, bench.confirm):
        before = bench.state(bench.chip)

        def judge(after: Chip, cut: str, act: Act = act, before: TrailerState = before) -> None:
            state = bench.state(after)
            boots = state.boots - before.boots
            used = state.attempts_used - before.attempts_used
            whole = cut == "whole"
            assert not state.confirmed or act == bench.confirm, cut
            assert boots in ((0, 1) if act == bench.mark else (0,)), cut
            assert used == boots or (act == power and used == -1), cut
            if act == bench.arm:
                assert state.armed == (state.magic == SET), cut
                assert not state.armed or (state.counter, state.attempts) == (5, 2), cut
            elif act != bench.confirm:
                assert state.armed and state.counter == 5, cut
            assert not whole or bool(boots) == (act == bench.mark)
            assert not whole or state.confirmed == (act == bench.confirm)
            if act == bench.mark:  # a torn mark counts: the next one goes beside it
                bench.mark(after)
                assert bench.state(after).boots == state.boots + 1, cut
            reinstall(bench, after, cut)

        assert bench.do(act, judge) >= 40
    assert bench.state(bench.chip).confirmed


def reinstall(bench: Bench, chip: Chip, cut: str) -> None:
    bench.erase(chip)
    assert bench.state(chip).blank, cut
    trailer.arm(bench.region(chip), bench.layout, 77)
    state = bench.state(chip)
    assert state.armed and (state.counter, state.boots) == (77, 0), cut


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("confirmed", [False, True])
def test_a_cut_erase_of_the_trailer_gives_no_attempt_back(kind: str, confirmed: bool) -> None:
    bench = Bench(kind)
    bench.arm(bench.chip)
    for _ in range(2):
        bench.mark(bench.chip)
        bench.note(trailer.WATCHDOG)(bench.chip)
    if confirmed:
        bench.confirm(bench.chip)

    def judge(after: Chip, cut: str) -> None:
        state = bench.state(after)
        assert state.confirmed <= confirmed, cut
        assert not state.armed or state.exhausted, cut
        assert state.blank or cut != "whole"
        reinstall(bench, after, cut)

    bench.do(bench.erase, judge)


# --- the boot stage ---------------------------------------------------------------------------------
def installed(kind: str) -> tuple[Chip, Board]:
    """Slot a confirmed, slot b a trial that has one boot behind it."""
    board = board_of(kind, ("slot_a", 2), ("slot_b", 2), ("epoch", 2))
    chip = Chip(kind, board.FLASH_SIZE)
    flash = port(chip, board)
    image = containers.image()
    for name, counter in (("a", 1), ("b", 2)):
        slot = Slot(flash, board, name)
        slot.region.program(0, image + b"\xff" * (-len(image) % 32))
        trailer.arm(slot.region, slot.layout, counter)
    slot = Slot(flash, board, "a")
    trailer.confirm(slot.region, slot.layout, slot.state())
    EpochCounter(Region(flash, *board.REGIONS["epoch"])).raise_to(1)
    assert booted(chip, board).mode == decision.TRIAL
    return chip.clone(), board


def booted(chip: Chip, board: Board) -> boot.Booted:
    return boot.Boot(port(chip, board), board, containers.keyset(), trailer.WATCHDOG).select()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_boot_boots_the_next_time(kind: str) -> None:
    chip, board = installed(kind)
    modes = set()

    def judge(after: Chip, cut: str) -> None:
        found = booted(after, board)
        modes.add(found.mode)
        assert found.slot is not None and found.payload == containers.PAYLOAD, cut
        assert found.attempt <= trailer.ATTEMPTS_DEFAULT, cut
        again = booted(after.clone(), board)
        assert again.slot is not None and again.payload == containers.PAYLOAD, cut

    assert sweep(chip, lambda one: bool(booted(one, board)), judge, unstable=False) >= 80
    assert decision.TRIAL in modes


# --- why internal flash needs a word of its own -----------------------------------------------------
def test_with_ecc_a_torn_word_stops_every_boot_after_it() -> None:
    """The H743 resets at the read, and reads it again: nothing that runs on it could help."""
    bench = Bench("h743 internal")
    bench.chip.cut_at(0, "prefix-5")
    with pytest.raises(PowerCut):
        bench.arm(bench.chip)
    for _ in range(3):
        after = bench.chip.clone()
        after.answers[2] = FaultingMap(after)
        with pytest.raises(HardFault):
            bench.state(after)
    plain = board_of("h743 internal", ("slot_a", 2))
    del plain.STM32["internal"]
    with pytest.raises(FlashError) as refusal:
        port(bench.chip.clone(), plain)
    assert refusal.value.code == FLASH_UNSUPPORTED
