"""Power cuts at every flash operation of an ESP32's base update, the bootloader's own included.

A story is a list of lives. Each life is a reset, then what the base that came up does. After every
cut the story is told again to its end: some confirmed base must come up, whatever was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bootloader_verify.errors import VerifyError
from bootloader_verify.ports.esp32_base import Bases
from tests.power.flash_model import PowerCut, cuts
from tests.unit import containers
from tests.unit.base_offers import Offer, finish
from tests.unit.esp32_chip import VALID, Chip
from tests.unit.esp32_image import app_image, image_verify
from tests.vectors import signing_DO_NOT_USE as signing

BOOTS_MAX = 8
BAD_BOOTS_MAX = 2
SIZE = 9 * 1024
OLD, OTHER, FRESH = (app_image(seed, SIZE) for seed in (1, 2, 3))
Act = Callable[[], bool]  # of the old base; True: it wants a reset


@pytest.fixture(autouse=True)
def _sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "signer", signing.sign)


@pytest.fixture(scope="module")
def offer() -> Any:
    before, containers.signer = containers.signer, signing.sign
    try:
        return Offer(FRESH)
    finally:
        containers.signer = before


def chip_with(old_slot: int, other: bytes = b"") -> Chip:
    """OLD runs from `old_slot`, confirmed; `other` is what was confirmed there before it."""
    chip = Chip(0, 16 * 1024)
    labels = ("ota_0", "ota_1")
    chip.place(labels[old_slot]).put(0, OLD)
    chip.place(labels[1 - old_slot]).put(0, other)
    if other:
        chip.put_entry(1, 4 - old_slot, VALID)
    chip.put_entry(0, 5 + old_slot, VALID)
    return chip


def runs(chip: Chip) -> bytes:
    """The image that is up: a whole one of ours."""
    up = chip.boot()
    assert up is not None, "no app boots"
    found = bytes(chip.place(up).bytes[: len(OLD)])
    assert found in (OLD, OTHER, FRESH)
    return found


def tell(chip: Chip, act: Act, good: bool) -> tuple[bytes, int]:
    """Lives until one has nothing more to do: (what runs then, how often FRESH came up).

    act: what OLD does once it is settled. good: FRESH confirms itself; else it dies at once.
    """
    fresh = 0
    for _ in range(BOOTS_MAX):
        up = runs(chip)
        fresh += up == FRESH
        if up == FRESH and not good:
            continue
        bases = Bases()
        if bases.state().selected == bases.running:
            bases.confirm()
        else:
            bases.keep()
        assert bases.state().settled
        if up != OLD or not act():
            return up, fresh
    raise AssertionError("no rest")


def update_with(offer: Any) -> Act:
    def act() -> bool:
        finish(offer.write()[0])
        return True

    return act


def once(act: Act) -> Act:
    """Do it in one life only: what a bad base leaves is not tried again here."""
    done: list[int] = []

    def first_time() -> bool:
        if done:
            return False
        done.append(1)
        return act()

    return first_time


def every_cut(chip: Chip, story: Callable[[Chip], Any]) -> Iterator[tuple[str, Chip]]:
    """(cut id, the chip after that cut with its power on again), for each cut of the story."""
    whole = chip.clone()
    with whole:
        story(whole)
    trace = [(kind, offset, size) for kind, _, offset, size in whole.trace]
    for number, torn in cuts(trace, unstable=False):
        yield f"{number}:{torn}", cut(chip, story, number, torn)


def cut(chip: Chip, story: Callable[[Chip], Any], number: int, torn: str) -> Chip:
    one = chip.clone()
    one.cut_at(number, torn)
    with one, pytest.raises(PowerCut):
        story(one)
    return one.clone()


def operations(chip: Chip, story: Callable[[Chip], Any]) -> int:
    one = chip.clone()
    with one:
        story(one)
    return one.operations


@pytest.mark.parametrize("old_slot", [0, 1])
@pytest.mark.parametrize("other", [b"", OTHER], ids=["new", "used"])
def test_an_update_can_be_finished_after_every_cut(offer: Any, old_slot: int, other: bytes) -> None:
    act = update_with(offer)
    count = 0
    for cut_id, after in every_cut(chip_with(old_slot, other), lambda c: tell(c, act, True)):
        with after:
            assert tell(after, act, True)[0] == FRESH, cut_id
        count += 1
    assert count > 400


@pytest.mark.parametrize("old_slot", [0, 1])
def test_an_update_can_be_finished_after_two_cuts(offer: Any, old_slot: int) -> None:
    act = update_with(offer)

    def story(chip: Chip) -> None:
        tell(chip, act, True)

    first = chip_with(old_slot, OTHER)
    for number in range(operations(first, story)):
        for torn in ("before", "mask-1", "after"):
            once_cut = cut(first, story, number, torn)
            for again in range(operations(once_cut, story)):
                twice = cut(once_cut, story, again, "mask-2" if again % 2 else "before")
                with twice:
                    assert tell(twice, act, True)[0] == FRESH, (number, torn, again)


@pytest.mark.parametrize("old_slot", [0, 1])
@pytest.mark.parametrize("other", [b"", OTHER], ids=["new", "used"])
def test_a_bad_base_goes_back_after_every_cut(offer: Any, old_slot: int, other: bytes) -> None:
    def story(chip: Chip) -> None:
        assert tell(chip, once(update_with(offer)), False) == (OLD, 1)

    for cut_id, after in every_cut(chip_with(old_slot, other), story):
        with after:
            up, fresh = tell(after, lambda: False, False)
            assert up == OLD and fresh <= BAD_BOOTS_MAX, cut_id


@pytest.mark.parametrize("old_slot", [0, 1])
def test_a_bad_base_tried_again_after_a_cut_goes_back_too(offer: Any, old_slot: int) -> None:
    def story(chip: Chip) -> None:
        tell(chip, once(update_with(offer)), False)

    for cut_id, after in every_cut(chip_with(old_slot, OTHER), story):
        with after:
            assert tell(after, once(update_with(offer)), False)[0] == OLD, cut_id


@pytest.mark.parametrize("old_slot", [0, 1])
def test_a_way_back_that_is_cut_ends_at_one_of_the_two(old_slot: int) -> None:
    def story(chip: Chip) -> None:
        def back() -> bool:
            Bases().go_back()
            return True

        assert tell(chip, back, True) == (OTHER, 0)

    for cut_id, after in every_cut(chip_with(old_slot, OTHER), story):
        with after:
            assert tell(after, lambda: False, True)[0] in (OLD, OTHER), cut_id


@pytest.mark.parametrize("old_slot", [0, 1])
def test_an_update_taken_back_never_ends_at_an_untried_base(offer: Any, old_slot: int) -> None:
    def story(chip: Chip) -> None:
        def take_back() -> bool:
            finish(offer.write()[0])
            Bases().keep()
            return True

        assert tell(chip, once(take_back), False) == (OLD, 0)

    for cut_id, after in every_cut(chip_with(old_slot, OTHER), story):
        with after:
            up, fresh = tell(after, lambda: False, False)
            assert up == OLD and fresh <= BAD_BOOTS_MAX, cut_id


@pytest.mark.parametrize("old_slot", [0, 1])
def test_a_base_that_runs_by_default_can_be_kept(offer: Any, old_slot: int) -> None:
    """The bootloader came back from an image that does not load, or otadata names none."""
    labels = ("ota_0", "ota_1")
    damaged = chip_with(1 - old_slot, b"")
    damaged.place(labels[1 - old_slot]).bytes[100] ^= 1
    damaged.place(labels[old_slot]).put(0, OLD)
    lost = chip_with(old_slot, b"")
    lost.erase(lost.place("otadata"), 0, 8192)
    act = update_with(offer)
    for chip in (damaged, lost):
        for cut_id, after in every_cut(chip, lambda c: tell(c, act, True)):
            with after:
                assert tell(after, act, True)[0] == FRESH, cut_id


@pytest.mark.parametrize("old_slot", [0, 1])
def test_an_unsigned_image_is_never_an_app(old_slot: int) -> None:
    """The bootloader would run it without our signature, were the running base ever damaged."""
    bad = Offer(FRESH, ["stranger"])

    def story(chip: Chip) -> None:
        def act() -> bool:
            with pytest.raises(VerifyError):
                finish(bad.write()[0])
            return False

        tell(chip, act, True)

    first = chip_with(old_slot, OTHER)
    spare = ("ota_1", "ota_0")[old_slot]
    for cut_id, after in every_cut(first, story):
        view = after.place(spare).bytes
        assert not image_verify(view, 0) or bytes(view[: len(OTHER)]) == OTHER, cut_id
