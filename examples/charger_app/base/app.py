"""The charger application: what the agent starts and asks. The contract is in README.md.

create(services) -> app     services: .io (hardware), .store (kept bytes), .log(text), .version
"""

import asyncio

from charger import self_test, session
from charger.clock import Clock
from charger.connector import FAULTED, Connector
from charger.display import Display
from charger.meter import Meter
from charger.sharing import Sharing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from charger.seams import Services

_STEP_S = (
    0.025  # a car that asks for it is off within 100 ms: two looks at the pilot and the contactor
)


def create(services: "Services") -> "Charger":
    """The application on this hardware, with what the store kept of the last start."""
    return Charger(services)


class Charger:
    """All connectors of one charger."""

    def __init__(self, services: "Services") -> None:
        count = services.io.CONNECTORS
        self._clock = Clock()
        self._held = False
        self._log = services.log
        self._meter = Meter(services.store, count)
        self._log("charger {}, {} connectors".format(services.version, count))
        self._connectors = [
            Connector(i, services.io, self._meter, services.log) for i in range(count)
        ]
        self._sharing = Sharing(count)
        self._display = Display(_folder() + "/screens", services.io)
        for one, register in zip(self._connectors, self._meter.registers):
            one.log("meter {} Wh", register.wh)

    async def run(self) -> None:
        """Work the charger until cancelled. On every way out all contactors are open."""
        try:
            while True:
                self.step()
                await asyncio.sleep(_STEP_S)
        finally:
            for one in self._connectors:
                one.make_safe()

    def step(self) -> None:
        """One look at everything, and what follows from it."""
        now_ms = self._clock.now_ms()
        for one in self._connectors:
            one.step(now_ms, self._held)
        wanting = [one.session.running() for one in self._connectors]
        offers = self._sharing.update(wanting, now_ms)
        for one, offer_a in zip(self._connectors, offers):
            one.apply(offer_a, now_ms)
        self._meter.poll(now_ms)
        if not self._display.show(self._screen()):
            self._log("screen {} is not readable".format(self._display.shown))

    def connectors(self) -> "list[str]":
        """OCPP ConnectorStatus of each connector."""
        return [one.word(self._held) for one in self._connectors]

    def charging(self) -> bool:
        """True while a transaction runs anywhere, or a card waits for its car."""
        return any(one.busy() for one in self._connectors)

    def contactor_closed(self) -> bool:
        """True while any contactor is closed or told to be."""
        return any(one.closed() for one in self._connectors)

    def hold(self, on: bool) -> None:
        """Availability hold: no new session while it is on. Not kept over a restart."""
        if on != self._held:
            self._held = on
            self._log("held for an update" if on else "hold ended")
            self._meter.store_soon()
            self._meter.poll(self._clock.now_ms())

    def self_test(self) -> "tuple[bool, str]":
        """(passed, what was tested or what failed). Blocks, up to 0.6 s a connector."""
        return self_test.run(self._connectors, self._meter, self._display)

    def _screen(self) -> str:
        if FAULTED in self.connectors():
            return "fault"
        states = [one.session.state for one in self._connectors]
        if session.CHARGING in states or session.READY in states:
            return "charging"
        if self._held:
            return "update"
        if session.FINISHED in states:
            return "finished"
        return "card" if session.PLUGGED in states else "idle"


def _folder() -> str:
    """Where this release is mounted."""
    return __file__.rsplit("/", 1)[0] if "/" in __file__ else "."
