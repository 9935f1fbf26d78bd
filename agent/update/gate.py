"""May the charger be interrupted now? Pure rule over what the application answers.

The hold is taken before the first question, so no session can begin between question and reset;
the gate opens only after it answered "open" twice, a settling time apart (SCENARIOS G08).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.application import Application

SETTLE_MS = 500  # a car that plugs in, a card that is shown: seen by the application by then

# Why it is closed, most important first; OCPP's words for them: protocol.REASON_OF.
APP_SILENT = "APP_SILENT"  # no answer is no "yes"
TX_IN_PROGRESS = "TX_IN_PROGRESS"
CONTACTOR_CLOSED = "CONTACTOR_CLOSED"  # without a transaction: welded; a reset must not hide it
PLUGGED = "PLUGGED"
SETTLING = "SETTLING"


def closed_by(app: "Application", require_unplugged: bool) -> str:
    """The code of what keeps the charger from being interrupted; "" if nothing does."""
    for ask, code in ((app.charging, TX_IN_PROGRESS), (app.contactor_closed, CONTACTOR_CLOSED)):
        if ask():
            return APP_SILENT if app.silent else code
    if require_unplugged and app.plugged():
        return APP_SILENT if app.silent else PLUGGED
    return ""


class Gate:
    """Asks until it stayed open for SETTLE_MS. `close` gives the hold back."""

    def __init__(self, app: "Application") -> None:
        self._app = app
        self._open_since_ms: "int | None" = None

    def poll(self, now_ms: int, require_unplugged: bool) -> str:
        """ "" once the charger may be interrupted, else the code of what it waits for."""
        held = self._app.hold(True)
        code = closed_by(self._app, require_unplugged) if held else APP_SILENT
        if code:
            self._open_since_ms = None
            return code
        if self._open_since_ms is None:
            self._open_since_ms = now_ms
        return "" if now_ms - self._open_since_ms >= SETTLE_MS else SETTLING

    def close(self) -> None:
        """Not interrupting after all: sessions may begin again."""
        self._open_since_ms = None
        self._app.hold(False)
