"""Every combination of two slots' trailers, through the real boot stage.

    fields    each raw form of each trailer field alone: what it says
    trailers  all raw trailers of one slot: what they say follows from the fields and nothing else,
              and torn says what bad says
    product   all pairs of magic x image_ok x copy_done x attempts 0..3 x image x install counters
    lives     all pairs of what a trial's history, image, stored epoch and reset cause can make of it

What must boot is said here in the words of THREATS and FORMATS, over how the slots were made; nothing
of decision.py is used. Each state boots until it rests: while there is an acceptable image, something
boots. A share of the states by default, all of them with --full; the numbers go to build/states/.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bootloader_verify import trailer
from bootloader_verify.boot import Boot
from bootloader_verify.trailer import Layout
from hil.virtual.device.virtual_cut import mix
from tests.power.slot_states import (
    EQUAL,
    GEOMETRIES,
    HIGH,
    IMAGES,
    LOW,
    PLACES,
    POWER,
    SECTOR,
    SLOT,
    STORES,
    WATCHDOG,
    Bench,
    Chip,
    Made,
    acceptable,
    must_boot,
    payload,
    trailer_bytes,
    writes,
)
from tests.unit.containers import reader

REPORTS = Path(__file__).resolve().parents[2] / "build" / "states"
SEED = 3


# --- one slot -----------------------------------------------------------------------------------------
def report(record_property: Any, phase: str, text: str) -> None:
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"{phase}.txt").write_text(text + "\n")
    record_property(f"states, {phase}", text)
    print(f"{phase}: {text}")


def share(of: Iterator[Any], one_in: int, full: bool) -> Iterator[Any]:
    """All of them, or a seeded share."""
    rng = random.Random(SEED)
    return (item for item in of if full or rng.random() * one_in < 1)


def said(form: str) -> str:
    return form if form in ("erased", "set") else "bad"


def expected_state(made: Made) -> tuple[Any, ...]:
    attempts = made.attempts if made.counter is not None else trailer.ATTEMPTS_DEFAULT
    ended = not made.history or made.history[-1][1] != ""
    flags = tuple(said(form) for form in (made.magic, made.image_ok, made.copy_done))
    return (*flags, made.counter, attempts, len(made.history), made.used, ended)


def parsed(raw: bytes, layout: Layout) -> trailer.TrailerState:
    return trailer.parse(reader(bytes(layout.image_limit) + raw), layout)


FORMS = ("erased", "set", "bad", "torn")
BOOTS = [(mark, note) for mark in ("set", "torn") for note in ("", POWER, WATCHDOG, "torn")]
HISTORIES = [h for n in range(4) for h in itertools.product(BOOTS, repeat=n)]
HISTORIES += [
    (("set", POWER),) * 11,
    (("set", POWER),) * 11 + (("set", ""),),
    (("set", POWER),) * 12,
    (("erased", ""), ("set", "")),
    (("erased", POWER), ("erased", WATCHDOG), ("torn", POWER)),
]


def raw_trailers() -> Iterator[Made]:
    whole = [(c, n, "") for c in (LOW, EQUAL, HIGH) for n in (1, 2, 3)]
    records = [*whole, (None, 3, "erased"), (None, 3, "torn"), (None, 3, "bad")]
    for flags in itertools.product(FORMS, repeat=3):
        for (counter, attempts, record), history in itertools.product(records, HISTORIES):
            yield Made(*flags, counter, attempts, history, record=record)


@pytest.mark.parametrize("unit, erased", GEOMETRIES)
def test_a_trailer_says_what_its_fields_say(
    unit: int, erased: int, full: bool, record_property: Any
) -> None:
    layout = Layout(SLOT, unit, SECTOR, erased)
    outcomes, count = set(), 0
    for made in share(raw_trailers(), 40, full):
        s = parsed(trailer_bytes(made, layout), layout)
        flags = (s.magic, s.image_ok, s.copy_done)
        found = (*flags, s.counter, s.attempts, s.boots, s.attempts_used, s.ended)
        assert found == expected_state(made), made
        outcomes.add(found)
        count += 1
    assert count > (450_000 if full else 9_000)
    text = f"{count} raw trailers of one slot, {len(outcomes)} distinct states"
    report(record_property, f"trailers-{unit}-{erased:02x}", text)


@pytest.mark.parametrize("unit, erased", GEOMETRIES)
def test_each_raw_form_of_each_field(unit: int, erased: int, record_property: Any) -> None:
    layout = Layout(SLOT, unit, SECTOR, erased)
    good = trailer_bytes(Made(history=(("set", WATCHDOG), ("set", ""))), layout)
    count = 0
    for at, bent in itertools.chain(bent_units(good, layout), bent_words(good, layout)):
        unit_bytes = bent[at - layout.image_limit :][: layout.unit]
        blank = unit_bytes == bytes([erased]) * layout.unit
        state = parsed(bent, layout)
        if at in (layout.magic, layout.install):
            assert state.armed == (bent == good), at
        elif at == layout.note(1):
            power = unit_bytes == b"\xa0" + bytes([erased]) * (layout.unit - 1)
            assert (state.attempts_used, state.ended) == (1 if power else 2, not blank)
        elif at == layout.mark(2):
            assert state.boots == (2 if blank else 3)
        else:
            flag = state.image_ok if at == layout.image_ok else state.copy_done
            whole = unit_bytes == b"\x01" + bytes([erased]) * (layout.unit - 1)
            assert flag == ("erased" if blank else "set" if whole else "bad")
        count += 1
    report(record_property, f"fields-{unit}-{erased:02x}", f"{count} raw forms of one field")


def bent_units(good: bytes, layout: Layout) -> Iterator[tuple[int, bytes]]:
    """(offset, trailer): every first byte of a flag, a mark and a note, with its last byte clean or not."""
    for at in (layout.image_ok, layout.copy_done, layout.mark(2), layout.note(1)):
        for value, other in itertools.product(range(256), (0, 1)):
            bent = bytearray(good)
            bent[at - layout.image_limit] = value
            bent[at - layout.image_limit + layout.unit - 1] ^= other
            yield at, bytes(bent)


def bent_words(good: bytes, layout: Layout) -> Iterator[tuple[int, bytes]]:
    """(offset, trailer): magic and install record with each bit flipped and torn at each length."""
    blank = bytes([layout.erased]) * 16
    torn = [f"prefix-{n}" for n in range(17)] + [f"mask-{n}" for n in range(64)]
    for field in (layout.magic, layout.install):
        at = field - layout.image_limit
        whole = good[at : at + 16]
        number = int.from_bytes(whole, "big")
        bent = [(number ^ 1 << bit).to_bytes(16, "big") for bit in range(128)]
        for word in bent + [mix(blank, whole, form) for form in torn]:
            yield field, good[:at] + word + good[at + 16 :]


# --- two slots ----------------------------------------------------------------------------------------
Pair = tuple[Made, Made]


def boot(bench: Bench, chip: Chip, pair: Pair, store: str, cause: str) -> tuple[str, Pair]:
    """One boot, judged; (mode, the slots after it)."""
    case = (pair, store, cause)
    noted = tuple(made.noted(cause) for made in pair)
    mode, index = must_boot(noted, STORES[store])
    done = len(chip.trace)
    booted = Boot(chip, bench.map, bench.keys, cause).select()
    assert booted.mode == mode, case
    assert (booted.slot is not None) == any(acceptable(m, STORES[store]) for m in noted), case  # I2
    assert chip.trace[done:] == writes(pair, mode, index, bench), case  # and never an erase
    if index is None:
        return mode, noted
    assert booted.slot.name == "ab"[index], case
    assert bytes(booted.payload) == payload(noted[index].image, index), case  # I1
    if mode != "trial":
        return mode, noted
    assert booted.slot.state().boots == len(noted[index].history) + 1, case  # I8
    return mode, tuple(m.tried() if i == index else m for i, m in enumerate(noted))


def live(bench: Bench, pair: Pair, store: str, cause: str, boots: int) -> list[str]:
    """The modes of at most `boots` boots, until one that is no trial. All trials hang."""
    chip = bench.flash(pair, store)
    modes: list[str] = []
    while len(modes) < boots and (not modes or modes[-1] == "trial"):
        mode, pair = boot(bench, chip, pair, store, cause)
        modes.append(mode)
        cause = WATCHDOG
    return modes


def product() -> Iterator[Pair]:
    """Literally: each flag, 0 to 3 attempts used, image good or not, and the counters' order."""
    flags = list(itertools.product(("erased", "set", "bad"), repeat=3))
    used = [(("set", WATCHDOG),) * n for n in range(4)]
    sides = [
        Made(*three, history=history, image=image)
        for three, history, image in itertools.product(flags, used, ("good", "broken"))
    ]
    orders = [(LOW, EQUAL), (EQUAL, EQUAL), (HIGH, EQUAL)]
    orders += [(None, EQUAL), (EQUAL, None), (None, None)]
    for counter_a, counter_b in orders:
        with_a = [replace(one, counter=counter_a) for one in sides]
        with_b = [replace(one, counter=counter_b) for one in sides]
        yield from itertools.product(with_a, with_b)


@pytest.mark.parametrize("part", range(4))
def test_the_whole_product_of_two_trailers(part: int, full: bool, record_property: Any) -> None:
    bench, modes, count = Bench(*GEOMETRIES[0]), Counter(), 0
    for pair in share(itertools.islice(product(), part, None, 4), 16, full):
        modes.update(live(bench, pair, "stored", WATCHDOG, 2))
        count += 1
    assert count == 69_984 if full else count > 4_000
    assert {"trial", "confirmed", "last_resort", "recovery"} == set(modes)
    report(record_property, f"product-{part}", f"{count} states, boots {dict(modes)}")


def trials() -> Iterator[Made]:
    """Everything that the history of a trial can be, and the trailers that are none."""
    set_, dead = ("set", ""), ("set", WATCHDOG)
    lost = ("set", POWER)
    histories = [(), (dead,), (lost,), (set_,), (("torn", ""),), (("set", "torn"),), (dead, set_)]
    histories += [(dead, dead), (dead, dead, set_), (dead,) * 3, (lost, set_), (lost,) * 3]
    histories += [(lost,) * 11, (lost,) * 11 + (set_,), (lost,) * 12, (("erased", ""), set_)]
    yield from (Made(history=history) for history in histories)
    yield from (Made(history=history, attempts=1) for history in histories[:5])
    yield from (Made(history=history, attempts=2) for history in histories[6:9])
    yield from (Made(copy_done=done, history=(dead, set_)) for done in ("set", "bad"))
    yield from (Made(copy_done="set", stuck=True, history=(dead,) * n) for n in (0, 2))
    yield Made(image_ok="set", copy_done="set", history=(set_,))
    yield Made(image_ok="bad", copy_done="set", history=(set_,))
    yield Made(magic="erased", counter=None)
    yield Made(magic="torn")
    yield Made(counter=None, record="torn")


def neighbours() -> Iterator[tuple[Pair, str, str]]:
    """(slots, epoch region, reset cause): all pairs of trials() and of what an image can be."""
    sides = [replace(m, image=i) for m in trials() for i in ("good", "old", "far", "broken")]
    for a, b in itertools.product(sides, sides):
        for counter in (LOW, EQUAL, HIGH) if None not in (a.counter, b.counter) else (EQUAL,):
            first = a if a.counter is None else replace(a, counter=counter)
            for store, cause in itertools.product(STORES, (POWER, WATCHDOG)):
                yield (first, b), store, cause


@pytest.mark.parametrize("unit, erased", GEOMETRIES)
@pytest.mark.parametrize("part", range(4))
def test_every_history_beside_every_other(
    unit: int, erased: int, part: int, full: bool, record_property: Any
) -> None:
    bench, modes, count = Bench(unit, erased), Counter(), 0
    whole = full and (unit, erased) == GEOMETRIES[0]
    one_in = 20 if full else 300
    for pair, store, cause in share(itertools.islice(neighbours(), part, None, 4), one_in, whole):
        found = live(bench, pair, store, cause, 9)
        assert found[-1] != "trial", (pair, store, cause)
        modes.update(found)
        count += 1
    report(
        record_property, f"lives-{unit}-{erased:02x}-{part}", f"{count} states, boots {dict(modes)}"
    )


@pytest.mark.parametrize("unit, erased", GEOMETRIES)
def test_every_image_beside_a_few(unit: int, erased: int, record_property: Any) -> None:
    """What is wrong with an image, or with the place where it stands, is its own slot's affair."""
    bench, modes, count = Bench(unit, erased), Counter(), 0
    partners = [Made(image_ok="set"), Made(history=(("set", ""),)), Made("erased", counter=None)]
    for made, image, partner in itertools.product(trials(), IMAGES + PLACES, partners):
        one = replace(made, image=image)
        for pair in ((one, partner), (partner, one)):
            modes.update(live(bench, pair, "stored", WATCHDOG, 9))
            count += 1
    assert set(modes) == {"trial", "confirmed", "last_resort", "last_confirmed", "recovery"}
    report(record_property, f"images-{unit}-{erased:02x}", f"{count} states, boots {dict(modes)}")
