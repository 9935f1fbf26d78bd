"""From reset to a running charger: watchdog, boot stage, then everything else (charger.py).

base firmware    board.py, factory_keyset.py, factory_tables.py (generated), agent/,
                 bootloader_verify/, main.py
slot a or b      the application, a ROMFS, mounted in place at /app
"""

import asyncio
import gc

from bootloader_verify import boot, decision, trailer
from bootloader_verify.errors import BAD_MAGIC
from bootloader_verify.keyset_store import KeysetStore
from bootloader_verify.slot import region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bootloader_verify.boot import Booted

WATCHDOG_MS = 10_000  # the longest single step is the ladder over a slot
# Heap kept in one piece while modules and the application strew small objects: for the buffers that
# are made behind them.
RESERVE_BYTES = 32_768
# Collect after so many bytes: garbage leaves before the next live object settles behind it, so the
# free heap stays in large pieces. Inflating a block needs one of 5.4 KB, TLS one of 16.7 KB.
GC_THRESHOLD_BYTES = 8_192


def main() -> None:
    """Called by main.py of the base firmware. Does not return."""
    if hasattr(gc, "threshold"):
        gc.threshold(GC_THRESHOLD_BYTES)
    reserve = [bytearray(RESERVE_BYTES)]
    import board
    import factory_keyset
    import factory_tables

    port = _port(board.PORT)
    watchdog = port.Watchdog(WATCHDOG_MS)
    flash = port.open_flash(board)
    place = region(flash, board, "keyset")
    keysets = KeysetStore(place, factory_keyset.CONTAINER, factory_tables.TABLES)
    cause = port.reset_cause()
    stage = boot.Boot(flash, board, keysets.keyset, cause)
    booted = stage.select()
    _tell(booted)
    watchdog.feed()
    from agent.charger import Charger

    hung = cause == trailer.WATCHDOG and booted.mode != decision.TRIAL
    charger = Charger(port, board, flash, keysets, stage, booted, watchdog, reserve, hung)
    gc.collect()
    asyncio.run(charger.run())


def _port(name: str) -> "Any":
    if name == "unix":
        from agent.ports import unix

        return unix
    if name == "esp32":
        from agent.ports import esp32

        return esp32
    if name == "stm32":
        from agent.ports import stm32

        return stm32
    raise ValueError("no port " + name)


def _tell(booted: "Booted") -> None:
    for name in sorted(booted.codes):
        if booted.codes[name]:
            code = booted.codes[name]
            refused = "holds no image" if code == BAD_MAGIC else "refused, " + code
            print("boot: slot {} {}".format(name, refused))
    if booted.epoch is None:
        print("boot: ALARM, the epoch counter is damaged")
    if booted.slot is None or booted.verified is None:
        print("boot: recovery, no slot boots")
        return
    text = "boot: slot {} {} {}".format(
        booted.slot.name, "{}.{}.{}+{}".format(*booted.verified.version), booted.mode
    )
    print(text + (", attempt {}".format(booted.attempt) if booted.attempt else ""))
