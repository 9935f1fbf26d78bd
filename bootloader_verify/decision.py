"""Which slot boots: a pure table over what the ladder and the trailers say. FORMATS section 2.

Print it: `python -m bootloader_verify.decision`.

What is not in the table does not boot. An image that used up its attempts is no last resort either:
the agent, which is in the base firmware, gets a charger out of recovery mode, but not out of a crash
loop (cost: an image that might run for a while stays off).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Optional, Sequence

    from bootloader_verify.trailer import TrailerState

# How a slot was chosen.
TRIAL = "trial"
CONFIRMED = "confirmed"
LAST_RESORT = "last_resort"
LAST_CONFIRMED = "last_confirmed"
RECOVERY = "recovery"  # no slot: the agent runs alone and takes a good image


class Facts:
    """One slot. `code`: "" if it climbs the ladder at or above the stored epoch, else why not.

    exempt: only its age keeps it out (ROLLBACK, REVOKED): authentic but for that.
    markable: False once its attempt mark could not be written and read back.
    """

    def __init__(self, name: str, code: str, state: "TrailerState", exempt: bool = False) -> None:
        self.name = name
        self.code = code
        self.state = state
        self.exempt = exempt
        self.markable = True


def _is_trial(slot: Facts) -> bool:
    return not slot.code and slot.state.armed and not slot.state.exhausted and slot.markable


def _is_confirmed(slot: Facts) -> bool:
    return not slot.code and slot.state.confirmed


def _is_last_resort(slot: Facts) -> bool:
    return not slot.code and not slot.state.armed


def _is_last_confirmed(slot: Facts) -> bool:
    return slot.exempt and slot.state.confirmed


# From top to bottom; within a row the higher install counter, then slot a.
TABLE = (
    (TRIAL, _is_trial, "valid, armed, attempts left, and its mark was read back"),
    (CONFIRMED, _is_confirmed, "valid and confirmed"),
    (LAST_RESORT, _is_last_resort, "valid, neither armed nor confirmed: cut before it was armed"),
    (
        LAST_CONFIRMED,
        _is_last_confirmed,
        "confirmed, but for an epoch or revocation that came later",
    ),
)


def decide(slots: "Sequence[Facts]") -> "tuple[str, Optional[Facts]]":
    """(mode, slot) of the first row that a slot fits; (RECOVERY, None) if there is none."""
    for mode, fits, _ in TABLE:
        best = None
        for slot in slots:
            if fits(slot) and (best is None or _counter(slot) > _counter(best)):
                best = slot
        if best is not None:
            return mode, best
    return RECOVERY, None


def _counter(slot: Facts) -> int:
    return -1 if slot.state.counter is None else slot.state.counter


def table_lines() -> "Iterable[str]":
    """The table as text, one row a line."""
    for mode, _, needs in TABLE:
        yield "{:15} {}".format(mode, needs)
    yield "{:15} {}".format(RECOVERY, "no slot at all: the agent runs alone, takes a good image")


if __name__ == "__main__":
    for _line in table_lines():
        print(_line)
