"""A charging session at one connector, as a table. Pure: no hardware, no clock, no meter.

A transaction runs in READY and CHARGING. It starts when car and card are both there and ends by the
car leaving, by the card that started it, or by a fault; what ends it is an OCPP stop reason.
"""

import binascii

from charger import pilot

IDLE = "Idle"
PLUGGED = "Plugged"  # a car without a card
AUTHORISED = "Authorised"  # a card without a car
READY = "Ready"  # transaction, the car does not want energy now
CHARGING = "Charging"  # transaction, the contactor may close
FINISHED = "Finished"  # transaction over, the car is still there

PLUG = "plug"
UNPLUG = "unplug"
CARD = "card"
DEMAND = "demand"
PAUSE = "pause"
FAULT = "fault"
EXPIRE = "expire"

#  (state, event): next state. What is not in the table changes nothing.
TABLE = {
    (IDLE, PLUG): PLUGGED,
    (IDLE, CARD): AUTHORISED,
    (AUTHORISED, PLUG): READY,
    (AUTHORISED, CARD): IDLE,
    (AUTHORISED, EXPIRE): IDLE,
    (AUTHORISED, FAULT): IDLE,
    (PLUGGED, CARD): READY,
    (PLUGGED, UNPLUG): IDLE,
    (READY, DEMAND): CHARGING,
    (READY, CARD): FINISHED,
    (READY, UNPLUG): IDLE,
    (READY, FAULT): FINISHED,
    (CHARGING, PAUSE): READY,
    (CHARGING, CARD): FINISHED,
    (CHARGING, UNPLUG): IDLE,
    (CHARGING, FAULT): FINISHED,
    (FINISHED, CARD): READY,
    (FINISHED, UNPLUG): IDLE,
}
TRANSACTION = (READY, CHARGING)

STOP_REASONS = {UNPLUG: "EVDisconnected", CARD: "Local", FAULT: "Other"}
POWER_LOSS = "PowerLoss"

AUTHORISED_FOR_MS = 60000  # OCPP's ConnectionTimeOut: the time to plug in after the card
_CARD_CHARS = 36  # an OCPP idToken


def card_number(card: str) -> int:
    """What is kept of a card to know it again: never its id."""
    return binascii.crc32(card.encode()) & 0xFFFFFFFF


class Session:
    """State of one connector. `card` is the number of the card that opened it, 0 for none."""

    def __init__(self) -> None:
        self.state = IDLE
        self.card = 0
        self.stop_reason = ""
        self._since_ms = 0
        self._restored = False

    def restore(self, card: int) -> None:
        """Go on with a transaction after a power loss; if the car has gone, that is its reason."""
        self.state = READY
        self.card = card
        self._restored = True

    def running(self) -> bool:
        return self.state in TRANSACTION

    def step(self, now_ms: int, letter: str, card: "str | None", fault: bool, refuse: bool) -> bool:
        """Take what is seen now; `refuse` turns new cards away. True if the state changed."""
        for event in self._events(now_ms, letter, self._accepted(card, refuse), fault):
            if (self.state, event) in TABLE:
                self._go(event, card, now_ms)
                return True
        self._restored = False
        return False

    def _accepted(self, card: "str | None", refuse: bool) -> bool:
        if not card or len(card) > _CARD_CHARS:
            return False
        if self.running() or self.state == AUTHORISED:
            return card_number(card) == self.card
        return not refuse

    def _events(self, now_ms: int, letter: str, card: bool, fault: bool) -> "list[str]":
        """What happened, most urgent first."""
        events = [FAULT] if fault else []
        if letter == "A":
            events.append(UNPLUG)
        if card:
            events.append(CARD)
        if letter in pilot.PLUGGED and not fault:
            events.append(PLUG)
            events.append(DEMAND if letter == "C" else PAUSE)
        if now_ms - self._since_ms >= AUTHORISED_FOR_MS:
            events.append(EXPIRE)
        return events

    def _go(self, event: str, card: "str | None", now_ms: int) -> None:
        was_running = self.running()
        self.state = TABLE[(self.state, event)]
        self._since_ms = now_ms
        if was_running and not self.running():
            self.stop_reason = POWER_LOSS if self._restored else STOP_REASONS[event]
        if event == CARD and self.state in (AUTHORISED, READY):
            self.card = card_number(card or "")
        elif not self.running() and self.state != AUTHORISED:
            self.card = 0
        self._restored = False
