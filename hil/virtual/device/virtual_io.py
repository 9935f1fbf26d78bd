"""The charger hardware of the virtual board, seen from its application (MicroPython).

The same calls that a port for a real board offers; an application gets this module as
`services.io` and must not know that the car and the grid are a file that the bench writes
(`plant.in`) and the outputs another one (`plant.out`, see hil/virtual/plant.py).

    CONNECTORS                          how many connectors this board has
    pilot_mv(connector)                 control pilot, positive peak in mV: 12000 A (no car),
                                        9000 B (car there), 6000 C (car wants energy),
                                        3000 D (with ventilation), 0 E (short), -12000 F (set by us)
    set_pwm(connector, permille)        duty of our pilot: 1000 steady +12 V (no offer), 100..970
                                        an offer (IEC 61851: amps = permille * 0.06 up to 850),
                                        0 steady -12 V (charger not available, state F)
    set_contactor(connector, on)        coil of the main contactor
    contactor_feedback(connector)       its auxiliary contact: True = closed, whatever the coil says
    power_w(connector)                  active power now, W (0 while the contactor is open)
    energy_pulses(connector)            pulses of the meter, 1 Wh each, counted from 0 again after
                                        every reset: the register is the application's to keep
    rfid(connector)                     a card that was presented: its id once, then None
    proximity(connector)                True while a plug sits in the socket

A connector out of range is an IndexError: a fault of the program, not of the charger. At reset all
outputs fall back: pilot steady +12 V, contactor coils off.
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTORS = 2

NO_OFFER_PERMILLE = 1000
UNAVAILABLE_PERMILLE = 0

_FOLDER = os.getenv("CHARGEFLASH_FOLDER") or "."
_IN = _FOLDER + "/plant.in"
_OUT = _FOLDER + "/plant.out"
_OUT_NEW = _OUT + ".new"
_IN_BYTES = 1024  # more than the bench writes; a longer file is cut, never read into the heap whole
_METER_REPORT_MS = 250
_REFRESH_MS = 20  # a car does not change faster, and every call would read a file
_PILOT_MV = {"A": 12000, "B": 9000, "C": 6000, "D": 3000, "E": 0}
_PHASES = 3
_VOLTS = 230
_ticks_ms = time.ticks_ms  # type: ignore[attr-defined]
_ticks_diff = time.ticks_diff  # type: ignore[attr-defined]


class _Connector:
    def __init__(self) -> None:
        self.pwm = NO_OFFER_PERMILLE
        self.coil = False
        self.state = "A"
        self.requested_w = 0
        self.welded = False
        self.stuck = False
        self.card_number = 0
        self.card = ""
        self.taken = 0
        self.meter_speed = 1
        self.watt_ms = 0
        self.wh_before = 0  # what the plant counted before this start

    def closed(self) -> bool:
        return self.welded or (self.coil and not self.stuck)

    def pulses(self) -> int:
        return self.watt_ms // 3600000

    def power_w(self) -> int:
        """What the car draws: what it wants, at most what the pilot offers, only in C or D."""
        if self.state not in "CD" or not self.closed():
            return 0
        return min(self.requested_w, _offered_w(self.pwm))


def _offered_w(permille: int) -> int:
    """The most that a car may draw at this duty (IEC 61851-1 annex A), three phases."""
    if permille < 100 or permille > 970:
        return 0
    deci_amps = permille * 6 // 10 if permille <= 850 else (permille - 640) * 25 // 10
    return deci_amps * _VOLTS * _PHASES // 10


_connectors = tuple([_Connector() for _ in range(CONNECTORS)])
_buffer = bytearray(_IN_BYTES)
_read_ms: "int | None" = None
_integrated_ms = _ticks_ms()
_reported_ms = _integrated_ms


def pilot_mv(connector: int) -> int:
    """Positive peak of the control pilot in mV."""
    _refresh()
    if _connectors[connector].pwm == UNAVAILABLE_PERMILLE:
        return -12000
    return _PILOT_MV[_connectors[connector].state]


def proximity(connector: int) -> bool:
    """True while a plug sits in the socket."""
    _refresh()
    return _connectors[connector].state != "A"


def set_pwm(connector: int, permille: int) -> None:
    """Set the pilot's duty, 0..1000; ValueError outside."""
    if not 0 <= permille <= 1000:
        raise ValueError("pilot duty is 0..1000 permille")
    if _connectors[connector].pwm != permille:
        _integrate()
        _connectors[connector].pwm = permille
        _write_outputs()


def set_contactor(connector: int, on: bool) -> None:
    """Switch the coil. The contact may not follow: read `contactor_feedback`."""
    on = bool(on)
    if _connectors[connector].coil != on:
        _integrate()
        _connectors[connector].coil = on
        _write_outputs()


def contactor_feedback(connector: int) -> bool:
    """True while the main contact is closed."""
    _refresh()
    return _connectors[connector].closed()


def power_w(connector: int) -> int:
    """Active power in W."""
    _refresh()
    return _connectors[connector].power_w()


def energy_pulses(connector: int) -> int:
    """Meter pulses (1 Wh) since this start."""
    _refresh()
    _integrate()
    return _connectors[connector].pulses()


def rfid(connector: int) -> "str | None":
    """Id of a card presented since the last call, or None; reported once, even over a reset."""
    _refresh()
    one = _connectors[connector]
    if one.card_number == one.taken:
        return None
    one.taken = one.card_number
    _write_outputs()
    return one.card


def _refresh() -> None:
    global _read_ms
    now = _ticks_ms()
    if _read_ms is not None and _ticks_diff(now, _read_ms) < _REFRESH_MS:
        return
    _read_ms = now
    _integrate()  # up to now with the old values: the pulses do not jump
    _each_line(_IN, _set_input)


def _integrate() -> None:
    global _integrated_ms
    now = _ticks_ms()
    elapsed_ms = _ticks_diff(now, _integrated_ms)
    _integrated_ms = now
    for one in _connectors:
        one.watt_ms += one.power_w() * elapsed_ms * one.meter_speed
    if _ticks_diff(now, _reported_ms) >= _METER_REPORT_MS and _charging():
        _write_outputs()


def _charging() -> bool:
    return any(one.power_w() for one in _connectors)


def _each_line(path: str, take: "Callable[[str, _Connector, str], None]") -> None:
    """Hand (name, connector, value) of each `name0=value` line to `take`; no file, no lines."""
    try:
        with open(path, "rb") as f:
            size = f.readinto(_buffer)
    except OSError:
        return
    for line in bytes(_buffer[:size]).decode().split("\n"):
        name, found, value = line.partition("=")
        if found and name and name[-1].isdigit() and int(name[-1]) < CONNECTORS:
            take(name[:-1], _connectors[int(name[-1])], value)


def _set_input(name: str, one: _Connector, value: str) -> None:
    if name == "cp":
        one.state = value if value in _PILOT_MV else "E"
    elif name == "power":
        one.requested_w = int(value)
    elif name == "weld":
        one.welded = value == "1"
    elif name == "stuck":
        one.stuck = value == "1"
    elif name == "speed":
        one.meter_speed = int(value)
    elif name == "auth":
        number, _, one.card = value.partition(":")
        one.card_number = int(number)


def _set_kept(name: str, one: _Connector, value: str) -> None:
    if name == "auth":
        one.taken = int(value)
    elif name == "wh":
        one.wh_before = int(value)


def _write_outputs() -> None:
    global _reported_ms
    _reported_ms = _ticks_ms()
    text = ""
    for index, one in enumerate(_connectors):
        text += f"pwm{index}={one.pwm}\ncoil{index}={int(one.coil)}\n"
        text += f"closed{index}={int(one.closed())}\nauth{index}={one.taken}\n"
        text += f"wh{index}={one.wh_before + one.pulses()}\n"
    with open(_OUT_NEW, "w") as f:
        f.write(text)
    os.rename(_OUT_NEW, _OUT)  # the bench never reads half of it


_each_line(_OUT, _set_kept)
_write_outputs()
