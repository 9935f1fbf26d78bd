"""Control pilot of IEC 61851-1: from millivolts to a letter, from amps to the duty of the pilot.

    A  no car               B  car connected            C  car wants energy
    D  C with ventilation   E  short, or no supply      F  charger not available

Pure: no hardware, no clock. Levels are the positive peak of the pilot.
"""

LEVELS_MV = {"A": 12000, "B": 9000, "C": 6000, "D": 3000, "E": 0, "F": -12000}
PLUGGED = "BCD"

_REACH_MV = 1500  # half of the distance between two levels: farther from every level is an error
_HYSTERESIS_MV = 200  # a letter is left only this much beyond the middle to its neighbour
_SETTLE_MS = 50  # IEC 61851-1 wants the contactor open 100 ms after the car asked for it
_SETTLE_CLOSE_MS = 200  # energy is never given in a hurry

NO_OFFER_PERMILLE = 1000  # steady voltage: no energy is offered
UNAVAILABLE_PERMILLE = 0  # steady -12 V: state F
MIN_A = 6
MAX_A = 80
_LINEAR_MAX_A = 51


def letter_of(pilot_mv: int, before: str = "") -> str:
    """The letter of a voltage; `before` is kept while the voltage is not clearly another one."""
    if before and abs(pilot_mv - LEVELS_MV[before]) <= _REACH_MV + _HYSTERESIS_MV:
        return before
    for letter in "ABCDEF":
        if abs(pilot_mv - LEVELS_MV[letter]) <= _REACH_MV:
            return letter
    return "E"


def duty_permille(amps: int) -> int:
    """Duty that offers `amps` per phase, never more; below 6 A: no offer. ValueError over 80 A."""
    if amps < MIN_A:
        return NO_OFFER_PERMILLE
    if amps > MAX_A:
        raise ValueError("the pilot can offer at most {} A".format(MAX_A))
    if amps <= _LINEAR_MAX_A:
        return amps * 1000 // 60
    return max(850, 640 + amps * 4)  # the car reads what is below with the other formula


def amps_of_duty(permille: int) -> int:
    """The current that a car may draw at this duty, in whole amps (the car's side of the table)."""
    if permille < 80 or permille > 970:
        return 0
    if permille < 100:
        return MIN_A
    if permille <= 850:
        return permille * 60 // 1000
    return min(MAX_A, (permille - 640) // 4)


class Pilot:
    """The debounced letter of one connector. Towards C it waits longer than away from it."""

    def __init__(self, pilot_mv: int) -> None:
        self.letter = letter_of(pilot_mv)
        self._candidate = self.letter
        self._since_ms = 0

    def update(self, pilot_mv: int, now_ms: int) -> str:
        """Take one measurement; returns the letter that counts now."""
        seen = letter_of(pilot_mv, self._candidate)
        if seen != self._candidate:
            self._candidate = seen
            self._since_ms = now_ms
        settle_ms = _SETTLE_CLOSE_MS if seen == "C" else _SETTLE_MS
        if seen != self.letter and now_ms - self._since_ms >= settle_ms:
            self.letter = seen
        return self.letter
