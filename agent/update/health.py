"""Does the new image deserve to stay? Pure rule: what was seen goes in, a verdict comes out.

Healthy: the application ran for STEADY_MS, its self-test passed, it answers what the gate will ask,
the broker was reached. Unhealthy: the application stopped, failed its self-test or does not answer.

A broker that stays away is not by itself the new image's fault: agent and network code are in the
base firmware, the same before and after (SCENARIOS B03, B05). So after `confirm_s` the time is
doubled once and then local health alone confirms, unless the agent ran into errors of its own in
this trial, which is how an application that eats the memory looks (cost: an image that breaks the
link in a way that shows nowhere else is kept after twice confirm_s).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.application import Application

STEADY_MS = 2_000
WAIT, HEALTHY, UNHEALTHY = 0, 1, 2


class Health:
    """One trial, begun at `now_ms`. `detail` says what decided."""

    def __init__(self, app: "Application", confirm_s: int, now_ms: int) -> None:
        self._app = app
        self._confirm_ms = confirm_s * 1000
        self._began_ms = now_ms
        self._tested = self._reached = False
        self.detail = ""

    def poll(self, now_ms: int, link_up: bool, defects: int) -> int:
        """WAIT, HEALTHY or UNHEALTHY. `defects`: errors of the agent itself since boot."""
        self._reached = self._reached or link_up
        if not self._app.running:
            return self._bad(self._app.fault or "no application")
        if now_ms - self._began_ms < STEADY_MS:
            return WAIT
        if not self._tested:
            return self._test()
        if self._reached:
            return HEALTHY
        return self._without_broker(now_ms - self._began_ms, defects)

    def _test(self) -> int:
        passed, detail = self._app.self_test()
        if not passed:
            return self._bad(detail)
        for ask in (self._app.charging, self._app.contactor_closed, self._app.plugged):
            ask()
            if self._app.silent:  # it would keep every later update away
                return self._bad(self._app.fault)
        self._tested = True
        self.detail = detail
        return WAIT

    def _without_broker(self, elapsed_ms: int, defects: int) -> int:
        if elapsed_ms < self._confirm_ms:
            return WAIT
        if defects:
            return self._bad("no broker in {} s, and errors".format(self._confirm_ms // 1000))
        if elapsed_ms < 2 * self._confirm_ms:
            return WAIT
        self.detail = "confirmed without the broker: " + self.detail
        return HEALTHY

    def _bad(self, detail: str) -> int:
        self.detail = detail
        return UNHEALTHY
