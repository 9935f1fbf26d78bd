"""What `machine` gives on every chip: reset, watchdog, and the module of the board's own hardware."""

import machine

from bootloader_verify import trailer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# By name: the numbers differ, 0 is a soft reset on STM32 and unknown on ESP32.
_CAUSES = (
    ("PWRON_RESET", trailer.POWER),
    ("WDT_RESET", trailer.WATCHDOG),
    ("HARD_RESET", trailer.HARD),
    ("SOFT_RESET", trailer.SOFT),
)


def reset_cause() -> str:
    """One of trailer.RESET_CAUSES. A brown-out counts as power, machine.reset() as hard.

    ESP32: a panic is hard too. Waking from deep sleep is unknown: nothing here sleeps.
    """
    cause = machine.reset_cause()  # type: ignore[attr-defined,unused-ignore]
    for name, text in _CAUSES:
        if cause == getattr(machine, name, None):
            return text
    return trailer.UNKNOWN


def reset() -> None:
    """Reset the chip. Does not return."""
    machine.reset()  # type: ignore[attr-defined,unused-ignore]


class Watchdog:
    """Resets the chip unless it is fed every `timeout_ms`; cannot be stopped."""

    def __init__(self, timeout_ms: int) -> None:
        self._wdt = machine.WDT(timeout=timeout_ms)  # type: ignore[attr-defined,unused-ignore]

    def feed(self) -> None:
        self._wdt.feed()


def charger_io() -> "Any":
    """What an application gets as `services.io`: the board maker's module `charger_io`.

    It has the calls of hil/virtual/device/virtual_io.py. ImportError without it: no application.
    """
    try:
        import charger_io  # type: ignore[import-not-found,unused-ignore]
    except ImportError as err:
        raise ImportError("{}: freeze the board's charger_io.py in the base firmware".format(err))
    return charger_io
