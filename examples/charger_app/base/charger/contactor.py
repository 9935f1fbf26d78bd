"""The main contactor and its feedback: does it follow its coil? Pure: no hardware, no clock."""

FOLLOW_MS = 100  # a contactor of this size moves in 20 to 40 ms; the rest is for its suppressor

WELDED = "contactor welded"  # closed without its coil: the plug may carry voltage
NO_CLOSE = "contactor does not close"  # open, or fallen open, although its coil is on


class Contactor:
    """One contactor. A fault stays until a self-test has seen it move, or until the next start."""

    def __init__(self) -> None:
        self.on = False  # what its coil is told
        self.fault = ""
        self._moved_ms: "int | None" = None

    def command(self, on: bool, now_ms: int) -> bool:
        """Ask for a position; returns what the coil gets: a faulty one is never switched on."""
        on = on and not self.fault
        if on != self.on:
            self.on = on
            self._moved_ms = now_ms
        return self.on

    def check(self, closed: bool, now_ms: int) -> str:
        """Compare with the feedback; returns the fault, "" if there is none."""
        if self._moved_ms is None:
            self._moved_ms = now_ms
        if closed != self.on and not self.fault and now_ms - self._moved_ms >= FOLLOW_MS:
            self.fault = WELDED if closed else NO_CLOSE
            self.on = False
        return self.fault

    def clear(self) -> None:
        """The contactor was seen to move as it should."""
        self.fault = ""
