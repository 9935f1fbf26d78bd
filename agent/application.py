"""The charger application as the agent sees it: asked, never trusted.

The contract is in examples/charger_app/README.md. What an application answers may decide whether a
charger is interrupted, so an answer that fails or is of another type counts as the careful one.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

# OCPP ConnectorStatus, all but Occupied and Reserved; a fault may need the update.
FREE_STATES = ("Available", "Unavailable", "Faulted")
_DETAIL_CHARS = 120


class Application:
    """`app` None: there is none (recovery). `running` goes False when it stopped, `fault` says why.

    `silent`: its last answer failed, in which way says `fault`.
    """

    def __init__(self, app: "Any", log: "Callable[[str], None]") -> None:
        self._app = app
        self._log = log
        self.running = app is not None
        self.silent = False
        self.fault = ""
        self._held = False

    def started(self, app: "Any") -> None:
        """It came later than the agent."""
        self._app, self.running = app, True

    def stopped(self, why: str) -> None:
        """Its task has ended, by an error or by itself: both are faults."""
        self.running = False
        self.fault = why[:_DETAIL_CHARS]
        self._log("application stopped: " + why)

    # --- questions ----------------------------------------------------------------------------
    def charging(self) -> bool:
        """A transaction runs or is about to begin."""
        return self._yes_or_no("charging")

    def contactor_closed(self) -> bool:
        """Any contactor is closed or told to be."""
        return self._yes_or_no("contactor_closed")

    def _yes_or_no(self, name: str) -> bool:
        """What is neither True nor False is no answer, and counts as yes."""
        answer = self._ask(name, None)
        if answer is not True and answer is not False and not self.silent:
            self.silent = True
            self.fault = "{}: neither True nor False".format(name)
        return answer is not False

    def plugged(self) -> bool:
        """A car is, or may be, connected somewhere."""
        states = self._ask("connectors", None)
        if not isinstance(states, list):
            self.silent = self.running
            return self.running
        return not all(isinstance(state, str) and state in FREE_STATES for state in states)

    def self_test(self) -> "tuple[bool, str]":
        """(passed, detail). Blocks for up to a second."""
        if not self.running:
            return False, self.fault or "no application"
        answer = self._ask("self_test", None)
        if not isinstance(answer, tuple) or len(answer) != 2:
            return False, self.fault or "self-test gave no answer"
        return answer[0] is True, _text(answer[1])[:_DETAIL_CHARS]

    def hold(self, on: bool) -> bool:
        """Availability hold: begin no session while it is on. False if the application failed.

        Asked for only on a change, and again while it fails.
        """
        if on == self._held or not self.running:
            return True
        self._ask("hold", None, on)
        if self.silent:
            return False
        self._held = on
        return True

    def _ask(self, name: str, otherwise: "Any", *args: "Any") -> "Any":
        """The answer, or `otherwise` if it fails; False where there is nobody to ask."""
        if not self.running:
            return False
        try:
            answer = getattr(self._app, name)(*args)
            self.silent = False
            return answer
        except (Exception, SystemExit) as err:  # whatever an application may raise
            self.silent = True
            self.fault = "{}: {} {}".format(name, type(err).__name__, _text(err))[:_DETAIL_CHARS]
            return otherwise


def _text(value: "Any") -> str:
    """What an application gave, as text; its own __str__ may fail as well."""
    try:
        return str(value)
    except Exception:
        return "(no text)"
