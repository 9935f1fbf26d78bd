"""Power cuts by the hundred thousand: which there are, what each leaves, and what the charger makes of it.

A cut has an id that runs it alone, `python -m tests.power ID`:

    g3.install.12:mask-4              flash 3, scene install, operation 12 torn by mask 4
    g3.install.12:mask-4+3:before     and the power goes again at operation 3 of the recovery

Operations count from 0 at the scene's begin, or at the power-on after the last cut. A life without its
cut is recorded once, with the flash before each operation; that flash, torn, is what a cut leaves: the
agent and the boot stage are deterministic, and test_campaign.py holds both ways against each other.
Tears that leave one and the same flash count once.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bootloader_verify import counter, flash, keyset_store, ladder, p256, records, trailer
from tests.power import flash_model, rig
from tests.power.chip import Chip
from tests.power.flash_model import PowerCut
from tests.power.geometry import GEOMETRIES, Geometry
from tests.power.judge import ARM, CONFIRM, DISARM, DOWNLOAD, STATE_ACTS, TRIAL, Witness
from tests.power.rig import Life, World
from tests.power.scenes import SCENES, Act, Scene, again, begin, epoch_of
from tests.power.tally import Tally

_RESTS_FICKLE = 4
_NOT_INSTALLED = (
    "InstallVerificationFailed",
    "InstallationFailed",
    "InstallRebooting",
    "InvalidSignature",
    "Idle",
)
_TRAILER_ACTS = (ARM, TRIAL, CONFIRM, DISARM)
_SLOT_ACTS = (DOWNLOAD, *_TRAILER_ACTS)
_UNSTABLE = tuple(f"unstable-{seed}" for seed in range(1, 4))  # other readings of the same cells
_SECONDS, _THIRDS = 8, 4  # cuts taken of one recovery
_GO_DEEPER = 0.25


def make_fast(set_: Callable[[Any, str, Any], None] = setattr) -> None:
    """Remember signatures, look at blank flash all at once. `set_`: a monkeypatch's setattr."""
    set_(p256, "verify", rig._verify)
    for module in (counter, flash, keyset_store, ladder, records, trailer):
        set_(module, "is_blank", _is_blank)


def _is_blank(read: Any, start: int, end: int, erased: int) -> bool:
    """flash.is_blank without its small buffer: the same answer in one read."""
    content = bytearray(max(0, end - start))
    if content:
        read(start, content)
    return content == _blank(erased, len(content))


@functools.lru_cache(maxsize=64)
def _blank(erased: int, size: int) -> bytes:
    return bytes([erased]) * size


@dataclass(frozen=True)
class CutId:
    """`cuts`: (operation, torn) one after the other."""

    geometry: str
    scene: str
    cuts: tuple[tuple[int, str], ...]

    def __str__(self) -> str:
        cuts = "+".join(f"{number}:{torn}" for number, torn in self.cuts)
        return f"{self.geometry}.{self.scene}.{cuts}"

    @staticmethod
    def parse(text: str) -> CutId:
        """ValueError if it is none."""
        geometry, scene, cuts = text.split(".")
        if geometry not in GEOMETRIES or scene not in SCENES:
            raise ValueError(f"{text}: no such flash or scene")
        pairs = (one.partition(":") for one in cuts.split("+"))
        return CutId(geometry, scene, tuple((int(number), torn) for number, _, torn in pairs))

    def then(self, number: int, torn: str) -> CutId:
        return CutId(self.geometry, self.scene, (*self.cuts, (number, torn)))


@dataclass
class Step:
    """One flash operation of a recorded life, with all that was before it."""

    number: int
    kind: str
    offset: int
    wanted: bytes
    act: str
    chip: Chip
    witness: Witness

    def torn(self, cut: CutId) -> tuple[Chip, Witness]:
        """Flash and witness after the last cut of `cut`, which hits this operation."""
        torn = cut.cuts[-1][1]
        chip, witness = self.chip.clone(str(cut)), self.witness.fork()
        witness.operation(chip, self.kind, self.offset, self.wanted)
        chip.tear(self.offset, self.wanted, torn)
        after_cut(witness, self.act, torn)
        if self.act in _TRAILER_ACTS and chip.hides(self.offset, len(self.wanted)):
            witness.fickle = witness.costs_update = True
        return chip, witness

    def tears(self) -> Iterator[str]:
        """Those that leave different flashes, in the order of flash_model.cuts; "before" is the
        "after" of the operation before it, but for the first one."""
        place = (self.offset, len(self.wanted))
        seen = set() if self.number == 0 else {self.chip.mark_of(*place)}
        for _, torn in flash_model.cuts([(self.kind, *place)]):
            chip = self.chip.clone()
            chip.tear(self.offset, self.wanted, torn)
            mark = chip.mark_of(*place)
            if mark not in seen:
                seen.add(mark)
                yield torn
                if torn == "unstable" and self.act in STATE_ACTS:
                    yield from _UNSTABLE


def after_cut(witness: Witness, act: str, torn: str) -> None:
    witness.cuts += 1
    witness.boots = 0  # from here on: boots to rest
    fickle = torn.startswith("unstable")
    witness.fickle |= fickle
    witness.flickers |= torn == "unstable"
    if torn not in ("before", "after") and (act == CONFIRM or (fickle and act in _SLOT_ACTS)):
        witness.costs_update = True


def record(act: Act, chip: Chip, world: World, witness: Witness) -> list[Step]:
    """Live once; every operation with what was before it. `witness` has seen it all then."""
    steps: list[Step] = []
    place = witness.place

    def look(kind: str, offset: int, wanted: bytes) -> None:
        witness.said(world.statuses)
        where = place.act(kind, offset, len(wanted))
        past = witness.fork()
        past.fetched += len(world.fetched)
        steps.append(Step(len(steps), kind, offset, wanted, where, chip.clone(), past))
        witness.operation(chip, kind, offset, wanted)

    chip.look = look
    world.witness = witness
    act(chip, world)
    return steps


class Run:
    """One scene on one flash, recorded; cuts are taken from it."""

    def __init__(self, geometry: Geometry, scene: Scene) -> None:
        self.geometry, self.scene = geometry, scene
        self.chip, self.world, self.witness = begin(scene, geometry)
        self.root = CutId(geometry.name, scene.name, ())
        whole, seen = self.chip.clone("whole"), self.witness.fork()
        world = again(self.world, seen)
        self.steps = record(scene.act, whole, world, seen)
        assert not seen.violations, seen.violations
        self.erases = seen.erases  # of a life without a cut
        self.fetched = len(world.fetched)

    def recovery(self, cut: CutId, step: Step) -> list[Step]:
        """The steps on the state path of the life after `cut`, which hits `step`."""
        chip, witness = step.torn(cut)
        try:
            steps = record(self.scene.goes_on, chip, again(self.world, witness), witness)
        except Exception as err:
            raise AssertionError(f"{cut}: {err}") from err
        return [one for one in steps if one.act in STATE_ACTS and any(one.tears())]

    def judge(self, cut: CutId, chip: Chip, witness: Witness, tally: Tally, act: str) -> None:
        """The charger goes on after `cut` until it rests; count it."""
        end = Recovery(self, chip, witness)
        end.run()
        tally.add(self.geometry, self.scene.name, act, cut.cuts, witness, end.state)
        tally.wear(len(cut.cuts), self.erases, witness.erases)
        for what in witness.violations:
            tally.wrong(str(cut), what)


class Recovery:
    """From a power-on to rest, and once more to see that rest is rest. `log` hears of each boot."""

    def __init__(self, run: Run, chip: Chip, witness: Witness) -> None:
        self.scene, self.geometry = run.scene, run.geometry
        self.run_of, self.chip, self.witness = run, chip, witness
        self.world = again(run.world, witness)
        self.state: Any = None

    def run(self) -> None:
        chip, witness = self.chip, self.witness
        chip.look = lambda kind, offset, wanted: witness.operation(chip, kind, offset, wanted)
        self.state = _state_of(chip, witness)
        try:
            life = self.scene.goes_on(chip, self.world)
            if life.booted.verified is None and witness.fickle:
                life = self.scene.goes_on(chip, self.world)  # I2: within two clean boots
            version = self._judge_end(life)
            self._judge_rest(epoch_of(version))
        except PowerCut:
            raise
        except Exception as err:
            witness.wrong(f"an error escapes: {type(err).__name__}: {err}")
        if chip.rewrites:
            witness.wrong("I6 a write unit is programmed twice")

    def _judge_end(self, life: Life) -> str:
        booted, witness = life.booted, self.witness
        assert booted.verified is not None, f"END in {booted.mode}"
        version = "{}.{}.{}".format(*booted.verified.version[:3])
        word = self.world.statuses[-1]["status"]
        if self.scene.ends.get(word) != version and not self._cost_the_update(word, version):
            witness.wrong(f"END with {version}, {word}")
        if witness.epoch_top < epoch_of(version) and not witness.costs_update:
            witness.wrong(f"END {version} is not confirmed")
        fetched = witness.fetched + len(self.world.fetched)
        again_at_most = witness.cuts * max(1, self.geometry.erase // self.geometry.block_bytes)
        if fetched > self.run_of.fetched + again_at_most:
            witness.wrong(f"I10 {fetched} blocks are fetched, {self.run_of.fetched} without a cut")
        most = self.run_of.erases + witness.cuts * self._erases_again()
        if witness.erases > most:
            witness.wrong(f"I10 {witness.erases} erases, at most {most}")
        return version

    def _erases_again(self) -> int:
        """What one cut may make the charger erase once more: the piece that it hit, of each kind."""
        sector, regions = self.geometry.erase, self.run_of.world.map.REGIONS
        halves = sum(regions[name][1] // 2 for name in ("journal", "epoch", "keyset"))
        layout = self.witness.place.layout
        trailer = layout.slot_size - layout.image_limit
        return (halves + trailer) // sector + max(1, self.geometry.block_bytes // sector)

    def _cost_the_update(self, word: str, version: str) -> bool:
        """A torn write that costs an update: that of the confirmation itself, cells of the slot that
        read now so, now so, or a unit of the trailer that looks erased and takes no write."""
        return self.witness.costs_update and word in _NOT_INSTALLED

    def _judge_rest(self, epoch: int) -> None:
        """I5; and this boot is looked at like any other, so I1, I4 and I9 hold at rest."""
        boots = self.witness.boots
        lives = _RESTS_FICKLE if self.witness.fickle else 1
        if not any(self._rests() for _ in range(lives)) and not self.witness.flickers:
            self.witness.wrong("I5 the charger writes at rest")
        if self.witness.epoch != epoch and not self.witness.costs_update:
            self.witness.wrong(f"END with epoch {self.witness.epoch}, not {epoch}")
        self.witness.boots = boots

    def _rests(self) -> bool:
        """True if one more life writes nothing. A record whose cells read well today and badly
        tomorrow is written anew when that is seen: then it takes one life more."""
        operations = self.chip.operations
        self.scene.goes_on(self.chip, self.world)
        return self.chip.operations == operations


def _state_of(chip: Chip, witness: Witness) -> tuple[Any, ...]:
    """What the trailers and the other regions hold right after a cut, in short."""
    layout, place = witness.place.layout, witness.place
    said = []
    for name in ("slot_a", "slot_b"):
        at = place.start[name]
        said.append(bool(witness._image_in(chip, name)))
        for start, end in (
            (layout.magic, layout.slot_size),
            (layout.image_ok, layout.image_ok + layout.unit),
            (layout.copy_done, layout.copy_done + layout.unit),
            (layout.install, layout.install + 16),
        ):
            said.append(_word(chip, at + start, end - start))
        said.append(witness._marks(chip, name))
    said.append(chip.undecided(0, chip.size_bytes))
    return tuple(said)


def _word(chip: Chip, offset: int, size: int) -> str:
    content = chip.content(offset, size)
    if content == bytes([chip.erased]) * size:
        return "erased"
    return "torn" if chip.undecided(offset, size) else f"{content[0]:02x}{content[-1]:02x}"


# --- which cuts -------------------------------------------------------------------------------------
def singles(run: Run, share: float, tally: Tally) -> None:
    """Every cut of the scene, or a seeded share of those of each operation, one at least."""
    chance = random.Random(str(run.root))
    for step in run.steps:
        tears = list(step.tears())
        if share < 1 and tears:
            tears = chance.sample(tears, max(1, round(share * len(tears))))
        for torn in tears:
            cut = run.root.then(step.number, torn)
            run.judge(cut, *step.torn(cut), tally, step.act)


def chains(run: Run, doubles: int, triples: int, tally: Tally) -> None:
    """Seeded cuts of the recovery from a cut, on the state path; and of the recovery from those."""
    chance = random.Random(f"chains {run.root}")
    firsts = [step for step in run.steps if step.act in STATE_ACTS and any(step.tears())]
    two = three = 0
    while two < doubles or three < triples:
        first = chance.choice(firsts)
        cut = one_of(run.root, first, chance)
        steps = run.recovery(cut, first)
        for second in chance.sample(steps, min(len(steps), _SECONDS)):
            cut_2 = one_of(cut, second, chance)
            if two < doubles:
                two += 1
                run.judge(cut_2, *second.torn(cut_2), tally, second.act)
            if three < triples and chance.random() < _GO_DEEPER:
                three += _thirds(run, cut_2, second, chance, triples - three, tally)


def _thirds(
    run: Run, cut: CutId, second: Step, chance: random.Random, most: int, tally: Tally
) -> int:
    steps = run.recovery(cut, second)
    chosen = chance.sample(steps, min(len(steps), _THIRDS, most))
    for third in chosen:
        cut_3 = one_of(cut, third, chance)
        run.judge(cut_3, *third.torn(cut_3), tally, third.act)
    return len(chosen)


def one_of(cut: CutId, step: Step, chance: random.Random) -> CutId:
    """`cut`, and then one of the tears of this step."""
    return cut.then(step.number, chance.choice(list(step.tears())))
