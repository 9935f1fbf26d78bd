"""Cuts of the campaign, by the same ids, in MicroPython processes that are really killed.

The device runs the real boot stage and updater over its NOR file (device/main.py). Where the cut left
the flash, and where the charger comes to rest, must be what the model in this process says: slots and
epoch byte by byte, the journal by what it says (MicroPython writes JSON fields in another order).
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from bootloader_verify.counter import EpochCounter
from bootloader_verify.slot import region
from hil.virtual.board import VirtualBoard
from host_tools import artifact
from tests.power import campaign, rig
from tests.power.campaign import CutId, Run
from tests.power.chip import Chip
from tests.power.flash_model import PowerCut
from tests.power.geometry import GEOMETRIES
from tests.power.judge import DOWNLOAD, JOURNAL
from tests.power.rig import DEVICE, Life, World
from tests.power.scenes import SCENES, again, keyset_container
from tests.system.bench import ROOT, base_with

pytestmark = pytest.mark.usefixtures("micropython")
GEOMETRY = "g22"  # that of the virtual board: 4096/8
SCENE = "install"
SOME, MANY = 12, 60
COMPARED = ("slot_a", "slot_b", "epoch")
_REST_S = 30
_HEAP = "4m"  # the device compiles its modules from source here


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "number" in metafunc.fixturenames:
        full = metafunc.config.getoption("--full")
        metafunc.parametrize("number", range(MANY if full else SOME))


@pytest.fixture(autouse=True)
def _faster(monkeypatch: pytest.MonkeyPatch) -> None:
    campaign.make_fast(monkeypatch.setattr)


def _sample() -> list[str]:
    """Every operation of arming, trial, confirm and epoch, and some of the others, torn in some way
    that the bench knows too."""
    chance = random.Random("in process")
    run = Run(GEOMETRIES[GEOMETRY], SCENES[SCENE])
    late = [step for step in run.steps if step.act not in (DOWNLOAD, JOURNAL)]
    found: list[str] = []
    while len(found) < MANY:
        step = late[len(found)] if len(found) < len(late) else chance.choice(run.steps)
        ways = [torn for torn in step.tears() if not torn.startswith("unstable")]
        cut = str(run.root.then(step.number, chance.choice(ways or ["before"])))
        if cut not in found:
            found.append(cut)
    return found


class Model:
    """The same life and cut in this process."""

    def __init__(self, cut: CutId) -> None:
        self.run = Run(GEOMETRIES[cut.geometry], SCENES[cut.scene])
        ((self.number, self.torn),) = cut.cuts
        self.boot, self.operation = 0, 0  # where the bench has to cut
        self.cut = self._lived()
        self.rest = self.cut.clone()
        self.life = rig.live(self.rest, self._world())

    def _world(self) -> World:
        return again(self.run.world, self.run.witness.fork())

    def _lived(self) -> Chip:
        chip, world, cause = self.run.chip.clone(), self._world(), "power"
        chip.cut_at(self.number, self.torn)
        while True:
            self.boot += 1
            self.operation = self.number - chip.operations
            try:
                Life(chip, world, cause).run()
            except PowerCut:
                return chip
            cause = "hard"

    def says(self) -> dict[str, Any]:
        """As device/main.py says it."""
        booted, journal = self.life.booted, self.life.parts.journal
        assert booted.slot is not None and booted.verified is not None
        epoch = EpochCounter(region(self.rest, self.run.world.map, "epoch")).read()
        return {
            "mode": booted.mode,
            "slot": booted.slot.name,
            "version": "{}.{}.{}+{}".format(*booted.verified.version),
            "epoch": epoch,
            "journal": [journal.state, journal.seq, journal.outcome, journal.reason],
        }


def _base(folder: Path, world: World) -> Path:
    """The base firmware: device/main.py, what it plays from, and the code under test."""
    main = Path(__file__).with_name("device") / "main.py"
    base = base_with(folder, main.read_text())
    (base / "agent").symlink_to(ROOT / "agent")
    shutil.copy(ROOT / "tests/unit/fakes.py", base / "fakes.py")
    facts = vars(world.map) | {"NAME": "campaign", "PORT": "unix"}
    (base / "board.py").write_text("".join(f"{name} = {facts[name]!r}\n" for name in facts))
    ((made,),) = (list(world.artifacts.values()),)
    played = {
        "DEVICE": DEVICE,
        "OFFER": world.offer,
        "KEYSET": keyset_container(1),
        "PAGES": [bytes(page) for page in artifact.pages(made.index)],
        "BLOCKS": [bytes(block) for block in made.blocks],
    }
    (base / "server.py").write_text("".join(f"{name} = {played[name]!r}\n" for name in played))
    return base


def _parts(flash: bytes, board: Any) -> dict[str, bytes]:
    return {
        name: flash[start : start + size]
        for name, (start, size) in board.REGIONS.items()
        if name in COMPARED
    }


def test_a_killed_process_leaves_what_the_model_says(number: int, tmp_path: Path) -> None:
    cut = CutId.parse(_sample()[number])
    model = Model(cut)
    map_ = model.run.world.map
    base = _base(tmp_path / "base", model.run.world)
    with VirtualBoard(tmp_path / "board", base=base, heap=_HEAP) as board:
        board.flash.write_bytes(model.run.chip.image())
        board.cut_at_operation(model.operation, model.torn, model.boot)
        board.power_on()
        board.wait_off(_REST_S)
        assert "armed flash operation" in board.boots[-1].end and len(board.boots) == model.boot
        left = board.flash.read_bytes()
        assert _parts(left, map_) == _parts(model.cut.image(), map_), cut
        board.power_on()
        line = board.wait_line("^rest ", _REST_S)
        assert json.loads(line.text[5:]) == model.says(), cut
        board.power_off()
        rest = board.flash.read_bytes()
    assert _parts(rest, map_) == _parts(model.rest.image(), map_), cut
