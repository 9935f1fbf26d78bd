"""What an updater works with, put together from a flash, a board and what was booted. No hardware.

RAM: one scratch buffer for journal records and blocks, and what Download says of itself.
"""

from agent import manifest
from agent.fetch.download import Download
from agent.update import journal
from agent.update.install import Installer
from agent.update.report import Reporter
from bootloader_verify import decision
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import FlashError
from bootloader_verify.records import Records
from bootloader_verify.slot import region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from agent.application import Application
    from bootloader_verify.boot import Boot, Booted
    from bootloader_verify.flash import Flash
    from bootloader_verify.keyset import Keyset
    from bootloader_verify.keyset_store import KeysetStore
    from bootloader_verify.slot import Slot


class Parts:
    """`names`: the device and its groups. `keyset_store` and the functions are set by the owner:

    log(text); restart(reason): make outputs safe and reset, may return; nonce() -> 0..65535.
    """

    def __init__(
        self,
        flash: "Flash",
        board: "Any",
        keyset: "Keyset",
        stage: "Boot",
        booted: "Booted",
        app: "Application",
        names: "list[str]",
    ) -> None:
        record_bytes = journal.record_bytes(manifest.CONTAINER_BYTES_MAX)
        scratch = memoryview(bytearray(max(record_bytes, board.BLOCK_BYTES_MAX)))
        spare = spare_slot(stage, booted)
        self.booted = booted
        self.keyset = keyset
        self.app = app
        self.installer = Installer(
            booted, stage.slots, spare, keyset, EpochCounter(region(flash, board, "epoch"))
        )
        self.journal = journal.Journal(
            Records(region(flash, board, "journal"), record_bytes, True), scratch
        )
        self.download = Download(spare.region, spare.layout, scratch, board.BLOCK_BYTES_MAX)
        self.device = _device(board, names, booted, spare)
        self.reporter = Reporter(_facts(booted))
        self.keyset_store: "KeysetStore | None" = None
        self.log: "Callable[[str], None]" = print
        self.restart: "Callable[[str], None]" = print
        self.nonce: "Callable[[], int]" = int


def spare_slot(stage: "Boot", booted: "Booted") -> "Slot":
    """The slot that does not run; in recovery the one that is not confirmed, or b."""
    first, second = stage.slots
    if booted.mode == decision.RECOVERY:
        return first if _confirmed(second) and not _confirmed(first) else second
    return second if booted.slot is first else first


def _confirmed(slot: "Slot") -> bool:
    try:
        return slot.state().confirmed
    except FlashError:
        return False


def _device(board: "Any", names: "list[str]", booted: "Booted", spare: "Slot") -> manifest.Device:
    device = manifest.Device(
        names,
        board.VID,
        board.CID,
        board.REVISION,
        spare.layout.image_limit,
        board.BLOCK_BYTES_MAX,
    )
    verified = booted.verified
    if verified is not None:
        device.version = manifest.parse_version(manifest.version_text(verified.version))
        device.digest = verified.digest
    return device


def _facts(booted: "Booted") -> "dict[str, Any]":
    """The fields of the status that stay as they are until the next boot or confirmation."""
    return {
        "version": manifest.version_text(booted.verified.version) if booted.verified else "",
        "slot": booted.slot.name if booted.slot else "",
        "mode": booted.mode,
        "epoch": booted.epoch or 0,
        "attempt": booted.attempt,
    }
