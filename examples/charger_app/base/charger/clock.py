"""Time for both Pythons: milliseconds that only grow."""

import time


def _ticks_ms() -> int:
    return time.monotonic_ns() // 1000000


_ticks = getattr(time, "ticks_ms", _ticks_ms)
_diff = getattr(time, "ticks_diff", lambda later, earlier: later - earlier)


class Clock:
    """Monotonic and free of the wrap of `ticks_ms`, if it is asked once in a few days."""

    def __init__(self) -> None:
        self._last = _ticks()
        self._now_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since this clock was made."""
        now = _ticks()
        self._now_ms += _diff(now, self._last)
        self._last = now
        return self._now_ms


def sleep_ms(duration_ms: int) -> None:
    """Block; only for the short steps of the self-test."""
    time.sleep(duration_ms / 1000)
