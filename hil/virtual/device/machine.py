"""What MicroPython's `machine` has on a chip and lacks on the desktop (MicroPython).

Stands before the built-in module of that name; everything else of that one is here too. The names
and numbers are those of the esp32 port.
"""

import os
import time

try:  # noqa: SIM105 (no contextlib here)
    from umachine import *  # type: ignore[import-not-found]  # noqa: F403
except ImportError:
    pass

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
SOFT_RESET = 5

_FOLDER = os.getenv("CHARGEFLASH_FOLDER") or "."
_CAUSES = {"hard": HARD_RESET, "watchdog": WDT_RESET, "soft": SOFT_RESET}


def reset() -> None:
    """Reset the chip, as by its reset pin. Does not return."""
    _ask_and_wait("reset hard")


def soft_reset() -> None:
    """Start MicroPython again. Does not return."""
    _ask_and_wait("reset soft")


def reset_cause() -> int:
    """Why this boot: PWRON_RESET, HARD_RESET, WDT_RESET or SOFT_RESET."""
    return _CAUSES.get(os.getenv("CHARGEFLASH_RESET_CAUSE") or "", PWRON_RESET)


class WDT:
    """The watchdog: once made it cannot be stopped, only fed. A second one changes the time."""

    def __init__(self, id: int = 0, timeout: int = 5000) -> None:
        if timeout < 1:
            raise ValueError("WDT timeout is in ms, at least 1")
        _ask(f"wdt {timeout}")

    def feed(self) -> None:
        """Start the time again."""
        _ask("feed")


def _ask(line: str) -> None:
    with open(_FOLDER + "/control", "w") as f:
        f.write(line + "\n")


def _ask_and_wait(line: str) -> None:
    _ask(line)
    while True:
        time.sleep(1)
