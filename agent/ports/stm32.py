"""An STM32 for the agent; the names are those of unix.py. Settings and TLS files: /flash.

Traps of the chip: with a card in its slot, relative names are those of the card. The watchdog runs
on its own oscillator, half as fast to twice as fast as it should be.
"""

from agent.ports import runtime
from agent.ports.chip import Watchdog, charger_io, reset, reset_cause  # noqa: F401 (handed on)
from agent.ports.interface import attach, connect  # noqa: F401
from agent.ports.runtime import (  # noqa: F401
    heap,
    mount,
    now_ms,
    random_below,
    show_error,
    sleep_ms,
)
from agent.ports.stream import tls_context  # noqa: F401
from bootloader_verify.ports.stm32 import open_flash  # noqa: F401

_FILES = "/flash/"  # where MicroPython mounts the file system of the board


def read_file(name: str) -> bytes:
    """A file of the board's file system; OSError if it is not there or too long."""
    return runtime.read_bounded(name if name.startswith("/") else _FILES + name)
