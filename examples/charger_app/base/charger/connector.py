"""One connector: asks the hardware, lets the rules decide, tells the hardware."""

from charger import pilot, session
from charger.contactor import Contactor
from charger.pilot import Pilot
from charger.session import Session
from charger.wiring import contact_closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from charger.meter import Meter
    from charger.seams import Io, Log

AVAILABLE = "Available"
OCCUPIED = "Occupied"
UNAVAILABLE = "Unavailable"
FAULTED = "Faulted"


class Connector:
    """Connector `index` (from 0; people and the log count from 1)."""

    def __init__(self, index: int, io: "Io", meter: "Meter", log: "Log") -> None:
        self.index = index
        self.contactor = Contactor()
        self.session = Session()
        self.pilot = Pilot(io.pilot_mv(index))
        self.offer_a = 0
        self.io = io
        self._meter = meter
        self._log = log
        self._register = meter.registers[index]
        self._register.rebase(io.energy_pulses(index))
        self._faults = ""  # as last logged
        if self._register.open:
            self.session.restore(self._register.card)
            self.log("session {} goes on after a power loss", self._register.session)

    def log(self, text: str, *values: "object") -> None:
        self._log("connector {}: {}".format(self.index + 1, text.format(*values)))

    def closed(self) -> bool:
        """True while the contactor is closed, or told to be."""
        return self.contactor.on or contact_closed(self.io.contactor_feedback(self.index))

    def fault(self) -> str:
        """What is wrong with the charge path now and ends a session, "" if nothing is."""
        if self.contactor.fault:
            return self.contactor.fault
        return "pilot fault" if self.pilot.letter in "EF" else ""

    def out_of_order(self) -> str:
        """What keeps a new session from beginning, "" if nothing does: a fault, or no meter."""
        return self.fault() or self._meter.fault

    def busy(self) -> bool:
        """True while a transaction runs or a card waits for its car."""
        return self.session.running() or self.session.state == session.AUTHORISED

    def in_use(self) -> bool:
        """True while there is a car, a card or a transaction: hands off."""
        return self.busy() or self.pilot.letter != "A" or self.session.state != session.IDLE

    def word(self, held: bool) -> str:
        """OCPP ConnectorStatus."""
        if self.out_of_order() and not self.session.running():
            return FAULTED
        if self.in_use():
            return OCCUPIED
        return UNAVAILABLE if held else AVAILABLE

    def step(self, now_ms: int, held: bool) -> None:
        """Look, decide, act: first half, all but the current. Call every 25 ms or so."""
        io = self.io
        self.pilot.update(io.pilot_mv(self.index), now_ms)
        self._register.count(io.energy_pulses(self.index))
        self.contactor.check(contact_closed(io.contactor_feedback(self.index)), now_ms)
        self._note_fault()
        card = io.rfid(self.index)
        was = self.session.state
        refuse = held or bool(self.out_of_order())
        if self.session.step(now_ms, self.pilot.letter, card, bool(self.fault()), refuse):
            self._follow(was, self.session.state)
        elif card:
            self.log("card refused, {}", self.word(held))

    def apply(self, offer_a: int, now_ms: int) -> None:
        """Second half: offer this current and switch the contactor."""
        if offer_a != self.offer_a:
            self.offer_a = offer_a
            self.log("offers {} A", offer_a)
        self.io.set_pwm(self.index, pilot.duty_permille(offer_a))
        want = self.session.state == session.CHARGING and offer_a >= pilot.MIN_A
        self.io.set_contactor(self.index, self.contactor.command(want, now_ms))

    def make_safe(self) -> None:
        """Coil off, no offer: whatever comes next."""
        self.contactor.on = False
        self.io.set_contactor(self.index, False)
        self.io.set_pwm(self.index, pilot.NO_OFFER_PERMILLE)

    def _note_fault(self) -> None:
        fault = self.out_of_order()
        if fault != self._faults:
            self._faults = fault
            self.log("fault: {}", fault or "none any more")

    def _follow(self, was: str, now: str) -> None:
        began, ended = now in session.TRANSACTION, was in session.TRANSACTION
        if began and not ended:
            number = self._meter.begin(self.index, self.session.card)
            self.log("session {} started, meter {} Wh", number, self._register.wh)
        elif ended and not began:
            used_wh = self._meter.end(self.index, self.session.stop_reason)
            text = "session {} ended ({}) with {} Wh, meter {} Wh"
            number = self._register.session
            self.log(text, number, self.session.stop_reason, used_wh, self._register.wh)
        else:
            self.log("{}", now)
