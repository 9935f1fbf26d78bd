"""What goes wrong with a flash but for the power: bits that flip, writes that fail, cells that stick.

Ids, for `python -m tests.power ID`:
    g2.install.12!once       operation 12 is refused, once
    g2.install.12!torn       half of it is done, and it is refused
    g2.install.12!lies       it is said to be done, and a bit of it is not
    g2.install.12!sector     from operation 12 on, its sector takes nothing any more
    g2.install.12!all        from operation 12 on, the whole chip takes nothing any more
    g2.install.12~4100.3     the power goes before operation 12, and bit 3 of byte 4100 flips
    g2.install.12=4100.3     bit 3 of byte 4100 never takes what operation 12 writes there

After any of them: no error escapes, what boots was signed, something boots, epoch and seq do not fall
by a single bit, the charger comes to rest.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bootloader_verify.errors import FLASH_FAILED, FlashError
from tests.power.campaign import Run, Step
from tests.power.chip import Chip
from tests.power.flash_model import ERASE, PROGRAM
from tests.power.geometry import GEOMETRIES
from tests.power.judge import STATE_ACTS, Place, Witness
from tests.power.scenes import SCENES, again
from tests.power.tally import Tally

WRITE_ERRORS = ("once", "torn", "lies", "sector", "all")
_FOR_EVER = ("sector", "all")
NAMES = {"!": "write error", "~": "bit error", "=": "stuck bit"}
_ID = re.compile(r"(g\d+)\.(\w+)\.(\d+)([!~=])(\w+)(?:\.([0-7]))?")
_RARE = 8
_QUIET_STEPS = 5
_LIVES_MAX = 4  # until the charger rests


@dataclass(frozen=True)
class FaultId:
    """`what`: one of WRITE_ERRORS, or the byte; `bit`: of that byte."""

    geometry: str
    scene: str
    operation: int
    kind: str
    what: str
    bit: int = 0

    def __str__(self) -> str:
        tail = "" if self.kind == "!" else f".{self.bit}"
        return f"{self.geometry}.{self.scene}.{self.operation}{self.kind}{self.what}{tail}"

    @staticmethod
    def parse(text: str) -> FaultId:
        """ValueError if it is none."""
        found = _ID.fullmatch(text)
        if not found or found[1] not in GEOMETRIES or found[2] not in SCENES:
            raise ValueError(f"{text}: no such fault")
        if (found[4] == "!") != (found[5] in WRITE_ERRORS) or (found[4] == "!") == bool(found[6]):
            raise ValueError(f"{text}: no such fault")
        bit = int(found[6] or 0)
        return FaultId(found[1], found[2], int(found[3]), found[4], found[5], bit)


class Ill:
    """A `fault` for a chip: operation `number` and what follows from it."""

    def __init__(self, chip: Chip, number: int, how: str) -> None:
        self._chip, self._number, self._how = chip, number, how
        self._sector = -1

    def __call__(self, kind: str, offset: int, wanted: bytes) -> bytes:
        now = self._chip.operations
        sector = offset // self._chip.erase_bytes
        if now == self._number:
            self._sector = sector
            if self._how == "lies":
                return _less_one_bit(wanted, self._chip.erased)
            if self._how == "torn":
                self._chip.tear(offset, wanted, "mask-1")
        gone = now > self._number and (
            self._how == "all" or (self._how == "sector" and sector == self._sector)
        )
        if now == self._number or gone:
            self._chip.operations += 1
            raise FlashError(FLASH_FAILED, f"{kind} {offset}")
        return wanted


def _less_one_bit(wanted: bytes, erased: int) -> bytes:
    """The first bit that was to be programmed is not; for an erase, one bit stays programmed."""
    changed = bytearray(wanted)
    at = next((i for i, byte in enumerate(wanted) if byte != erased), 0)
    bits = wanted[at] ^ erased or 1
    changed[at] ^= bits & -bits
    return bytes(changed)


def judge(
    run: Run, fault: FaultId, prepare: Callable[[Witness], None] = lambda _witness: None
) -> Witness:
    """Let it happen, and see. `prepare(witness)` before it begins."""
    chip, witness = run.chip.clone(str(fault)), run.witness.fork()
    act = run.scene.act
    if fault.kind == "~":
        before = run.steps[fault.operation]
        chip, witness = before.chip.clone(str(fault)), before.witness.fork()
        chip.flip(int(fault.what), 1 << fault.bit)
        act = run.scene.goes_on
    elif fault.kind == "=":
        erased_bit = chip.erased & (1 << fault.bit)
        chip.stuck = (int(fault.what), 1 << fault.bit, erased_bit)
    else:
        chip.fault = Ill(chip, fault.operation, fault.what)
    prepare(witness)
    witness.damaged, witness.aged = fault.kind != "~", fault.kind == "~"
    witness.fickle = True  # what boots at once may need a second boot
    chip.look = lambda kind, offset, wanted: witness.operation(chip, kind, offset, wanted)
    # What can never be stored is tried again at each boot.
    _live_on(run, chip, witness, act, rests=fault.kind != "=" and fault.what not in _FOR_EVER)
    return witness


def _live_on(run: Run, chip: Chip, witness: Witness, act: object, rests: bool) -> None:
    world = again(run.world, witness)
    try:
        life = act(chip, world)  # type: ignore[operator]
        for _ in range(_LIVES_MAX):
            operations = chip.operations
            life = run.scene.goes_on(chip, world)
            if chip.operations == operations:
                break
        else:
            written = chip.operations - operations
            if rests or written > _tried_again_at_most(run):
                witness.wrong(f"I5 the charger writes at rest: {written} operations")
        if life.booted.verified is None and witness.must_boot:
            witness.wrong(f"I2 it ends in {life.booted.mode}: {life.booted.codes}")
    except Exception as err:
        witness.wrong(f"an error escapes: {type(err).__name__}: {err}")


def _tried_again_at_most(run: Run) -> int:
    """At each boot, where a cell is stuck for ever: both halves erased, their records written."""
    regions = run.world.map.REGIONS
    sectors = [regions[name][1] // run.geometry.erase for name in ("journal", "epoch", "keyset")]
    return 2 * max(sectors) + 4


# --- which faults -----------------------------------------------------------------------------------
def write_errors(run: Run) -> Iterator[FaultId]:
    """Each operation in each way.

    Left out: a chip or a sector that takes nothing any more, while its only image is on trial. A trial
    needs its mark (I8); see test_faults.DEAD_SECTOR.
    """
    for step in run.steps:
        for how in WRITE_ERRORS:
            if how in _FOR_EVER and run.scene.name == "rescue":
                continue
            yield FaultId(run.geometry.name, run.scene.name, step.number, "!", how)


def bit_errors(run: Run, every: int) -> Iterator[FaultId]:
    """A bit of every byte (of every `every`-th one) of trailers and epoch, of an eighth of those of
    journal and keyset, at some steps that follow one of another act."""
    chance = random.Random(f"bits {run.root}")
    for step in _quiet(run.steps):
        for at, rare in _state_bytes(run.witness.place, step.chip):
            if not chance.randrange(every * _RARE if rare else every):
                bit = chance.randrange(8)
                names = (run.geometry.name, run.scene.name)
                yield FaultId(*names, step.number, "~", str(at), bit)


def _quiet(steps: list[Step]) -> list[Step]:
    found = [
        step
        for i, step in enumerate(steps)
        if step.act in STATE_ACTS and (not i or steps[i - 1].act != step.act)
    ]
    return found[:: max(1, len(found) // _QUIET_STEPS)]


def _state_bytes(place: Place, chip: Chip) -> Iterator[tuple[int, bool]]:
    """(offset, whether there are many of its kind): every byte of both trailers; of the regions what
    is written, and a bit behind it."""
    for name, (start, size) in place.board.REGIONS.items():
        if name.startswith("slot_"):
            yield from ((at, False) for at in range(start + place.layout.install, start + size))
            continue
        for half in (start, start + size // 2):
            content = chip.content(half, size // 2).rstrip(bytes([chip.erased]))
            end = min(half + len(content) + 16, half + size // 2)
            yield from ((at, name != "epoch") for at in range(half, end))


def stuck_bits(run: Run) -> Iterator[FaultId]:
    """Of what each operation on the state path programs: a bit of each of its first units."""
    chance = random.Random(f"stuck {run.root}")
    for step in run.steps:
        if step.act not in STATE_ACTS or step.kind == ERASE:
            continue
        assert step.kind == PROGRAM
        written = [i for i, byte in enumerate(step.wanted) if byte != run.chip.erased]
        for i in chance.sample(written, min(len(written), 4)):
            bits = step.wanted[i] ^ run.chip.erased
            bit = chance.choice([n for n in range(8) if bits >> n & 1])
            names = (run.geometry.name, run.scene.name)
            yield FaultId(*names, step.number, "=", str(step.offset + i), bit)


def sweep(run: Run, faults: Iterator[FaultId], tally: Tally) -> None:
    for fault in faults:
        witness = judge(run, fault)
        kind = NAMES[fault.kind]
        tally.fault(f"{kind}{' ' + fault.what if fault.kind == '!' else ''}")
        for what in witness.violations:
            tally.wrong(str(fault), what)
