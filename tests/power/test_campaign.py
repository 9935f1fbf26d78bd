"""The campaign: power cuts by the hundred thousand with --full, a seeded share of them without.

pytest tests/power/test_campaign.py --full -n 2
python -m tests.power g3.install.12:mask-4      one cut alone
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from bootloader_verify.flash import is_blank
from tests.power import campaign
from tests.power.campaign import CutId, Run, Step, chains, singles
from tests.power.chip import Chip
from tests.power.flash_model import PowerCut
from tests.power.geometry import GEOMETRIES
from tests.power.scenes import SCENES, again, begin
from tests.power.tally import CAMPAIGN, Tally

SINGLES, DOUBLES, TRIPLES = 200_000, 20_000, 10_000  # at least, with --full
SHARE = 1 / 20  # of the single cuts, without
LARGE, WHOLE_SHARE = 8192, 1 / 4  # sectors above this size: so many of their cuts, with --full
SMALL, WHOLE = (10, 5), (45, 22)  # double and triple cuts of one item
Publish = Callable[[str, object], None]
ITEMS = [(geometry, scene) for geometry in GEOMETRIES for scene in SCENES]
ONE_OF = 2  # without --full: every second item, so that each flash and each scene has some


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.function is test_no_cut_breaks_an_invariant:
        full = metafunc.config.getoption("--full")
        metafunc.parametrize(("geometry", "scene"), ITEMS if full else ITEMS[::ONE_OF])


@pytest.fixture(autouse=True)
def _faster(monkeypatch: pytest.MonkeyPatch) -> None:
    campaign.make_fast(monkeypatch.setattr)


def test_no_cut_breaks_an_invariant(
    geometry: str, scene: str, full: bool, record_property: Publish
) -> None:
    run, tally = Run(GEOMETRIES[geometry], SCENES[scene]), Tally()
    share = (WHOLE_SHARE if GEOMETRIES[geometry].erase > LARGE else 1) if full else SHARE
    singles(run, share, tally)
    chains(run, *(WHOLE if full else SMALL), tally)
    record_property(CAMPAIGN, tally.as_json())
    assert not tally.violations, "\n".join(tally.violations[:20])
    assert tally.cuts(1) >= sum(any(step.tears()) for step in run.steps) and tally.cuts(3)


def test_the_campaign_is_as_large_as_it_says(full: bool) -> None:
    """Counted, not run: tears that leave the same flash are one."""
    if not full:
        pytest.skip("the share that runs without --full is smaller")
    assert len(ITEMS) * WHOLE[0] >= DOUBLES and len(ITEMS) * WHOLE[1] >= TRIPLES
    count = 0
    for geometry, scene in ITEMS:
        run = Run(GEOMETRIES[geometry], SCENES[scene])
        share = WHOLE_SHARE if run.geometry.erase > LARGE else 1
        count += int(share * sum(1 for step in run.steps for _ in step.tears()))
    assert count >= SINGLES


@pytest.mark.parametrize("scene", SCENES)
def test_a_recorded_cut_is_the_cut_itself(scene: str) -> None:
    """What the recording leaves and what a life that is really cut there leaves: one flash."""
    for geometry in ("g2", "g15", "g26"):
        run, chance = Run(GEOMETRIES[geometry], SCENES[scene]), random.Random(scene)
        steps = [step for step in run.steps if any(step.tears())]
        for step in chance.sample(steps, min(len(steps), 6)):
            torn = chance.choice(list(step.tears()))
            cut = run.root.then(step.number, torn)
            recorded, witness = step.torn(cut)
            really = _really_cut(run, step, torn)
            place = (0, recorded.size_bytes)
            assert recorded.mark_of(*place) == really.mark_of(*place), cut
            assert (witness.cuts == 1 and recorded.wear == really.wear) or step.kind == "erase"


def _really_cut(run: Run, step: Step, torn: str) -> Chip:
    chip, world, witness = begin(run.scene, run.geometry)
    chip = chip.clone("whole")
    chip.cut_at(step.number, torn)
    with pytest.raises(PowerCut):
        run.scene.act(chip, again(world, witness))
    return chip


@pytest.mark.parametrize("erased", [0xFF, 0x00])
def test_the_fast_blank_check_answers_as_the_real_one(erased: int) -> None:
    chip = Chip(4096, 1024, 1, erased)
    chip.program(2000, b"\x55")
    for start, end in ((0, 2000), (0, 2001), (2000, 2001), (2001, 4096), (5, 5), (7, 3), (0, 4096)):
        want = is_blank(chip.read, start, end, erased)
        assert campaign._is_blank(chip.read, start, end, erased) == want


def test_a_cut_has_an_id_that_names_it() -> None:
    text = "g3.install.12:mask-4+3:before"
    assert str(CutId.parse(text)) == text
    assert CutId.parse(text).cuts == ((12, "mask-4"), (3, "before"))
    for wrong in (
        "",
        "g3.install",
        "g99.install.1:after",
        "g3.nothing.1:after",
        "g3.install.x:after",
    ):
        with pytest.raises(ValueError):
            CutId.parse(wrong)


def test_the_same_cut_ends_the_same_way_every_time() -> None:
    run = Run(GEOMETRIES["g11"], SCENES["install"])
    for text in ("g11.install.17:unstable-2", "g11.install.13:unstable"):
        ends = []
        for _ in range(3):
            tally, cut = Tally(), CutId.parse(text)
            step = run.steps[cut.cuts[0][0]]
            run.judge(cut, *step.torn(cut), tally, step.act)
            ends.append(tally.as_json())
        assert len(set(ends)) == 1, text
