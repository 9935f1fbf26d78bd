"""Flashes that are ill: bits that flip, writes that fail once or for ever, cells that stick.

`python -m tests.power 'g2.install.12!once'` runs one fault alone: faults.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.power import campaign
from tests.power.campaign import CutId, Run
from tests.power.faults import FaultId, bit_errors, judge, stuck_bits, sweep, write_errors
from tests.power.geometry import GEOMETRIES
from tests.power.scenes import SCENES
from tests.power.tally import CAMPAIGN, Tally

Publish = Callable[[str, object], None]
FLASHES = ("g2", "g14", "g15", "g24", "g27")
EVERY_BYTE, SOME_BYTES, FEW_BYTES = 1, 12, 250
EVERY = ("install", "revert", "adopt")  # scenes whose every byte is tried with --full
# Found by the campaign, mended since: what a charger did before, and must not do again.
MENDED = {
    "g2.revert.34!once": "a note that came late gave a failed trial an attempt back",
    "g2.revert.31!torn": "so did the note behind a torn third mark",
    "g36.rescue.15:mask-0": "the only image was given up because image_ok took no write",
    "g2.rescue.24=8680.5": "a stuck bit in image_ok of the only image: armed and tried for ever",
    "g2.adopt.0~4339.4": "image_ok rotted before the first boot had stored the factory's epoch",
}


# Not mended: a trailer sector that takes nothing any more, under the only image. A trial needs its
# mark (I8), so the agent runs alone and is told about images, and puts them where the dead sector is.
DEAD_SECTOR = "g2.rescue.24!sector"


@pytest.fixture(autouse=True)
def _faster(monkeypatch: pytest.MonkeyPatch) -> None:
    campaign.make_fast(monkeypatch.setattr)


@pytest.mark.parametrize("geometry", FLASHES)
@pytest.mark.parametrize("scene", SCENES)
def test_no_fault_breaks_an_invariant(
    geometry: str, scene: str, full: bool, record_property: Publish
) -> None:
    run, tally = Run(GEOMETRIES[geometry], SCENES[scene]), Tally()
    if full or geometry == "g2":
        sweep(run, write_errors(run), tally)
        sweep(run, stuck_bits(run), tally)
    whole = geometry == "g2" and scene in EVERY
    every = (EVERY_BYTE if whole else SOME_BYTES) if full else FEW_BYTES
    sweep(run, bit_errors(run, every), tally)
    record_property(CAMPAIGN, tally.as_json())
    assert not tally.violations, "\n".join(tally.violations[:20])


@pytest.mark.xfail(strict=True, reason="see DEAD_SECTOR", raises=AssertionError)
def test_a_dead_trailer_sector_under_the_only_image() -> None:
    names = DEAD_SECTOR.split(".")
    found = judge(Run(GEOMETRIES[names[0]], SCENES[names[1]]), FaultId.parse(DEAD_SECTOR))
    assert not found.violations


@pytest.mark.parametrize("fault", MENDED)
def test_what_was_found_stays_mended(fault: str) -> None:
    names = fault.split(".")
    run, tally = Run(GEOMETRIES[names[0]], SCENES[names[1]]), Tally()
    if ":" in fault:
        cut = CutId.parse(fault)
        step = run.steps[cut.cuts[0][0]]
        run.judge(cut, *step.torn(cut), tally, step.act)
        found = tally.violations
    else:
        found = judge(run, FaultId.parse(fault)).violations
    assert not found, found


def test_a_fault_has_an_id_that_names_it() -> None:
    for text in ("g2.install.12!once", "g2.install.12~4100.3", "g14.adopt.0=17.0"):
        assert str(FaultId.parse(text)) == text
    for wrong in (
        "",
        "g2.install.1!never",
        "g2.install.1~4",
        "g2.no.1!once",
        "g2.install.1!once.3",
    ):
        with pytest.raises(ValueError):
            FaultId.parse(wrong)
