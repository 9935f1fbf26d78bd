"""Does this release still work this charger? Moves what may be moved, looks at the rest.

A connector in use is only looked at: no coil moves, no pilot changes while there is a car or card.
Takes at most 0.6 s a connector, and a few milliseconds when all is well.
"""

from charger import pilot, wiring
from charger.clock import sleep_ms
from charger.contactor import FOLLOW_MS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from charger.connector import Connector
    from charger.display import Display
    from charger.meter import Meter

_STEP_MS = 5


class _FailedError(Exception):
    """What the user will read."""


def run(connectors: "list[Connector]", meter: "Meter", display: "Display") -> "tuple[bool, str]":
    """Test everything; (True, what was tested) or (False, what failed)."""
    seen = []
    failed = []
    for one in connectors:
        name = "connector {}: ".format(one.index + 1)
        try:
            seen.append(name + _connector(one))
            _energy(one, meter)
        except _FailedError as err:
            failed.append(name + str(err))
    if meter.fault:
        failed.append(meter.fault)
    missing = display.missing()
    if missing:
        failed.append("screen {} is not readable".format(missing))
    return not failed, "; ".join(failed or seen)


def _connector(one: "Connector") -> str:
    if one.in_use() or _letter(one) in pilot.PLUGGED:
        if one.fault():
            raise _FailedError(one.fault())
        if not one.contactor.on and _closed(one):
            raise _FailedError("contactor reads closed with its coil off")
        return "in use, only looked at"
    try:
        _pilot(one)
        _contactor(one)
    finally:
        one.make_safe()
    one.contactor.clear()
    return "pilot and contactor ok"


def _pilot(one: "Connector") -> None:
    """Our own generator and measurement: +12 V steady, -12 V steady, +12 V again."""
    _expect_letter(one, pilot.NO_OFFER_PERMILLE, "A")
    _expect_letter(one, pilot.UNAVAILABLE_PERMILLE, "F")
    _expect_letter(one, pilot.NO_OFFER_PERMILLE, "A")


def _contactor(one: "Connector") -> None:
    """Open, close, open again, without a load: nobody is there."""
    _expect(one, False, "contactor reads closed with its coil off")
    if _letter(one) != "A":
        raise _FailedError("a car came during the test")
    one.io.set_contactor(one.index, True)
    _expect(one, True, "contactor reads open with its coil on")
    one.io.set_contactor(one.index, False)
    _expect(one, False, "contactor stays closed")


def _energy(one: "Connector", meter: "Meter") -> None:
    if meter.registers[one.index].wh < meter.stored_wh(one.index):
        raise _FailedError("meter below its stored value")
    power_w = one.io.power_w(one.index)
    if not one.contactor.on and power_w > wiring.IDLE_POWER_MAX_W:
        raise _FailedError("meter shows {} W with an open contactor".format(power_w))


def _expect_letter(one: "Connector", permille: int, letter: str) -> None:
    one.io.set_pwm(one.index, permille)
    if not _within(FOLLOW_MS, lambda: _letter(one) == letter):
        mv = one.io.pilot_mv(one.index)
        raise _FailedError("pilot reads {} mV, not {}".format(mv, pilot.LEVELS_MV[letter]))


def _expect(one: "Connector", closed: bool, otherwise: str) -> None:
    if not _within(FOLLOW_MS, lambda: _closed(one) == closed):
        raise _FailedError(otherwise)


def _within(limit_ms: int, true: "Callable[[], bool]") -> bool:
    for _ in range(0, limit_ms, _STEP_MS):
        if true():
            return True
        sleep_ms(_STEP_MS)
    return bool(true())


def _closed(one: "Connector") -> bool:
    return wiring.contact_closed(one.io.contactor_feedback(one.index))


def _letter(one: "Connector") -> str:
    return pilot.letter_of(one.io.pilot_mv(one.index))
