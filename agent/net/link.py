"""When to connect, when to ask whether anyone is there, when to give a connection up. Pure rules.

Back-off has OCPP's names: wait RetryBackOffWaitMinimum plus a random part of
RetryBackOffRandomRange, doubled RetryBackOffRepeatTimes times, then constant.

A silence that follows traffic is questioned once with a ping; no answer in time is a stall, and the
connection is remade at once: TCP by itself takes another 20 s after an outage of 30 s. Time comes
in as `now_ms`, a number that only grows.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

# --- states -----------------------------------------------------------------------------------
BACKING_OFF = "backing_off"  # no connection; the wait is running
CONNECTING = "connecting"  # a connection is being made, up to the broker's answer
CONNECTED = "connected"
STALLED = "stalled"  # given up, not yet closed

# --- events -----------------------------------------------------------------------------------
DUE = "due"
UP = "up"
DOWN = "down"
SILENT = "silent"

TRANSITIONS = {
    (BACKING_OFF, DUE): CONNECTING,
    (BACKING_OFF, DOWN): BACKING_OFF,
    (CONNECTING, UP): CONNECTED,
    (CONNECTING, DOWN): BACKING_OFF,
    (CONNECTING, SILENT): STALLED,
    (CONNECTED, DOWN): BACKING_OFF,
    (CONNECTED, SILENT): STALLED,
    (STALLED, DOWN): BACKING_OFF,
}

# --- what poll() asks for ---------------------------------------------------------------------
NOTHING, CONNECT, PING, DROP = 0, 1, 2, 3

# --- times ------------------------------------------------------------------------------------
CONNECT_TIMEOUT_MS = 20_000  # TCP, TLS and the broker's answer; a small chip shakes hands for 3 s
PROBE_MS = 2_000  # silence after traffic until we ask; longer than any link's round trip
ANSWER_MS = 4_000  # until the answer; a lost packet comes again within this
STEADY_MS = 10_000  # a connection that lived so long was a good one: the back-off starts anew
STALL_SPREAD_MS = 1_000  # a thousand chargers behind one dead mast do not come in one second


class BackOff:
    """Waits between tries. `random(n)`: a number of 0..n."""

    def __init__(
        self,
        retry_back_off_wait_minimum_s: int,
        retry_back_off_random_range_s: int,
        retry_back_off_repeat_times: int,
        random: "Callable[[int], int]",
    ) -> None:
        self._minimum_ms = retry_back_off_wait_minimum_s * 1000
        self._range_ms = retry_back_off_random_range_s * 1000
        self._repeat_times = retry_back_off_repeat_times
        self._random = random
        self.tries = 0

    def reset(self) -> None:
        """The next wait is the shortest again."""
        self.tries = 0

    def next_ms(self) -> int:
        """The wait before the next try."""
        doubled = min(self.tries, self._repeat_times)
        self.tries += 1
        return (self._minimum_ms << doubled) + self._random(self._range_ms)

    def spread_ms(self, most_ms: "int | None" = None) -> int:
        """The random part alone, at most `most_ms`."""
        return self._random(self._range_ms if most_ms is None else min(self._range_ms, most_ms))


class Link:
    """The life of the connection. `state` is one of the states above, `reason` why it went down.

    `poll` says what to do; what happens is told by up, down, heard and sent. At power-on the first
    try waits for the random part only: a street of chargers gets its power back in one moment.
    """

    def __init__(
        self,
        back_off: BackOff,
        keepalive_s: int,
        now_ms: int,
        connect_timeout_ms: int = CONNECT_TIMEOUT_MS,
        probe_ms: int = PROBE_MS,
        answer_ms: int = ANSWER_MS,
    ) -> None:
        self._back_off = back_off
        self._ping_ms = keepalive_s * 750  # three quarters: the broker hears us in good time
        self._connect_timeout_ms = connect_timeout_ms
        self._probe_ms = probe_ms
        self._answer_ms = answer_ms
        self.state = BACKING_OFF
        self.reason = ""
        self._due_ms = now_ms + back_off.spread_ms()
        self._up_ms: "int | None" = None  # None: this connection is not up yet
        self._heard_ms = self._sent_ms = now_ms
        self._traffic_ms: "int | None" = None  # the first traffic since the last question
        self._asked_ms: "int | None" = None  # when we asked who is there, until anything came

    def _go(self, event: str) -> None:
        self.state = TRANSITIONS[(self.state, event)]

    # --- what happened ------------------------------------------------------------------------
    def up(self, now_ms: int) -> None:
        """The broker took us."""
        self._go(UP)
        self._up_ms = self._heard_ms = self._sent_ms = now_ms
        self._traffic_ms, self._asked_ms = now_ms, None

    def down(self, now_ms: int, reason: str) -> None:
        """The connection ended or could not be made. After a stall the next try is soon."""
        good = self._up_ms is not None and now_ms - self._up_ms >= STEADY_MS
        if good:
            self._back_off.reset()
        if good and self.state == STALLED:
            wait_ms = self._back_off.spread_ms(STALL_SPREAD_MS)
        else:
            wait_ms = self._back_off.next_ms()
        if self.state != STALLED:
            self.reason = reason
        self._go(DOWN)
        self._due_ms, self._up_ms = now_ms + wait_ms, None

    def heard(self, now_ms: int, traffic: bool) -> None:
        """Bytes came. `traffic`: more than the answer to a ping."""
        self._heard_ms = now_ms
        self._asked_ms = None
        self._note_traffic(now_ms, traffic)

    def sent(self, now_ms: int, traffic: bool) -> None:
        """Bytes went out. `traffic`: more than a ping."""
        self._sent_ms = now_ms
        self._note_traffic(now_ms, traffic)

    def _note_traffic(self, now_ms: int, traffic: bool) -> None:
        if traffic and self._traffic_ms is None:
            self._traffic_ms = now_ms

    def wait_ms(self, now_ms: int) -> int:
        """How long until the next try; 0 when it is due or a connection is there."""
        return max(0, self._due_ms - now_ms) if self.state == BACKING_OFF else 0

    # --- what to do ---------------------------------------------------------------------------
    def poll(self, now_ms: int) -> int:
        """CONNECT, PING, DROP or NOTHING. After DROP close the connection and call `down`."""
        if self.state == BACKING_OFF:
            return self._poll_wait(now_ms)
        if self.state == CONNECTING:
            return self._poll_connecting(now_ms)
        if self.state == CONNECTED:
            return self._poll_connected(now_ms)
        return NOTHING

    def _poll_wait(self, now_ms: int) -> int:
        if now_ms < self._due_ms:
            return NOTHING
        self._go(DUE)
        self._due_ms = now_ms
        return CONNECT

    def _poll_connecting(self, now_ms: int) -> int:
        if now_ms - self._due_ms < self._connect_timeout_ms:
            return NOTHING
        return self._stall("no connection within {} ms".format(self._connect_timeout_ms))

    def _poll_connected(self, now_ms: int) -> int:
        if self._asked_ms is not None:
            if now_ms - self._asked_ms < self._answer_ms:
                return NOTHING
            return self._stall("silent for {} ms".format(now_ms - self._heard_ms))
        began_ms = self._traffic_ms
        if began_ms is not None and now_ms - max(self._heard_ms, began_ms) >= self._probe_ms:
            return self._ask(now_ms)
        if self._ping_ms and now_ms - min(self._heard_ms, self._sent_ms) >= self._ping_ms:
            return self._ask(now_ms)
        return NOTHING

    def _ask(self, now_ms: int) -> int:
        self._traffic_ms = None
        self._asked_ms = now_ms
        return PING

    def _stall(self, reason: str) -> int:
        self.reason = reason
        self._go(SILENT)
        return DROP
