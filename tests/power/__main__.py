"""One cut alone, step by step: `python -m tests.power ID`; without an ID the list of flashes and scenes.

Exit code 0 if every invariant holds, 1 if not, 2 for what is no id. Ids: campaign.py and faults.py.
"""

from __future__ import annotations

import sys
from typing import Any

from tests.power.campaign import CutId, Recovery, Run, Step, make_fast, record
from tests.power.chip import Chip
from tests.power.faults import NAMES, FaultId, judge
from tests.power.geometry import GEOMETRIES
from tests.power.judge import Witness
from tests.power.scenes import SCENES, again


class Teller:
    """A witness's ears, with a voice."""

    def __init__(self, witness: Witness) -> None:
        self._booted = witness.booted
        self._resumed = witness.resumed
        witness.booted = self.booted  # type: ignore[method-assign]
        witness.resumed = self.resumed  # type: ignore[method-assign]

    def booted(self, chip: Chip, booted: Any, cause: str) -> None:
        slot = "no slot" if booted.slot is None else f"slot {booted.slot.name}"
        image = "" if booted.verified is None else " {}.{}.{}".format(*booted.verified.version[:3])
        codes = {name: code for name, code in booted.codes.items() if code}
        refused = f", refused {codes}" if codes else ""
        attempt = f" attempt {booted.attempt}" if booted.attempt else ""
        print(
            f"boot ({cause}): {booted.mode}{attempt}, {slot}{image}, epoch {booted.epoch}{refused}"
        )
        self._booted(chip, booted, cause)

    def resumed(self, journal: Any) -> None:
        print(f"  journal: {journal.state}, seq {journal.seq} {journal.outcome} {journal.reason}")
        self._resumed(journal)


def tell(step: Step, what: str = "") -> None:
    size = len(step.wanted)
    where = step.witness.place.region(step.offset)
    at = step.offset - step.witness.place.start[where]
    old = step.chip.content(step.offset, min(size, 16)).hex()
    new = step.wanted[:16].hex()
    print(
        f"  {step.number:3} {step.act:9}{step.kind:8}{where}+{at:<6} {size:5} B  {old} > {new}{what}"
    )


def run_cut(cut: CutId) -> bool:
    """Live, cut, go on, for each cut of the id; True if every invariant holds."""
    run = Run(GEOMETRIES[cut.geometry], SCENES[cut.scene])
    print(f"flash {run.geometry.text}, scene {cut.scene}")
    steps, so_far = run.steps, run.root
    for number, torn in cut.cuts:
        if number >= len(steps):
            raise ValueError(f"{cut}: that life has {len(steps)} operations only")
        so_far = so_far.then(number, torn)
        for step in steps[: number + 1]:
            tell(step, f"  << CUT {torn}" if step.number == number else "")
        step = steps[number]
        chip, witness = step.torn(so_far)
        left = chip.content(step.offset, min(len(step.wanted), 16)).hex()
        cells = " and undecided cells" if chip.undecided(0, chip.size_bytes) else ""
        print(f"      left behind: {left}{cells}")
        if so_far != cut:
            Teller(witness)
            steps = record(run.scene.goes_on, chip, again(run.world, witness), witness)
    return _go_on(run, chip, witness)


def run_fault(fault: FaultId) -> bool:
    """Let it happen; True if every invariant holds."""
    run = Run(GEOMETRIES[fault.geometry], SCENES[fault.scene])
    print(f"flash {run.geometry.text}, scene {fault.scene}, {NAMES[fault.kind]} {fault}")
    if fault.operation >= len(run.steps):
        raise ValueError(f"{fault}: that life has {len(run.steps)} operations only")
    for step in run.steps[: fault.operation + 1]:
        tell(step)
    print("the same life, with the fault:" if fault.kind != "~" else "then:")
    return _verdict(judge(run, fault, _loud))


def _loud(witness: Witness) -> None:
    """Every boot and every operation is told."""
    Teller(witness)
    listen = witness.operation

    def look(chip: Chip, kind: str, offset: int, wanted: bytes) -> None:
        act = witness.place.act(kind, offset, len(wanted))
        tell(Step(chip.operations, kind, offset, wanted, act, chip, witness))
        listen(chip, kind, offset, wanted)

    witness.operation = look  # type: ignore[method-assign]


def _go_on(run: Run, chip: Chip, witness: Witness) -> bool:
    _loud(witness)
    recovery = Recovery(run, chip, witness)
    recovery.run()
    words = [status["status"] for status in recovery.world.statuses]
    print(f"said: {', '.join(words)}")
    return _verdict(witness)


def _verdict(witness: Witness) -> bool:
    for what in witness.violations:
        print(f"VIOLATED: {what}")
    print("every invariant holds" if not witness.violations else "BAD")
    return not witness.violations


def main(words: list[str]) -> int:
    make_fast()
    if not words:
        for geometry in GEOMETRIES.values():
            print(f"{geometry.name:4} {geometry.text}")
        print("scenes:", ", ".join(SCENES))
        return 0
    try:
        good = [
            run_cut(CutId.parse(word)) if ":" in word else run_fault(FaultId.parse(word))
            for word in words
        ]
    except ValueError as err:
        print(f"no id: {err}", file=sys.stderr)
        return 2
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
