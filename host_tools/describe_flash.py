"""What stands in a board's flash: slots with their trailers, record logs, epoch, journal."""

from __future__ import annotations

import json
from dataclasses import asdict

from bootloader_verify import trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.errors import FLASH_RANGE, CodedError, FlashError
from bootloader_verify.flash import Region
from bootloader_verify.records import HEAD_BYTES, Records
from bootloader_verify.trailer import Layout, TrailerState
from host_tools.boards import Board
from host_tools.describe import Facts, describe

_JOURNAL_LENGTH_BYTES = 2  # agent/update/journal.py: u16 length of the JSON, the JSON, the manifest


class _Bytes:
    """A flash object over bytes that nobody can write to."""

    def __init__(self, data: bytes, board: Board) -> None:
        self._data = data
        self.size_bytes = len(data)
        self.erase_bytes = board.erase_bytes
        self.write_bytes = board.write_bytes
        self.erased = board.erased

    def read(self, offset: int, buf: bytearray | memoryview) -> None:
        buf[:] = self._data[offset : offset + len(buf)]

    def erase(self, offset: int, size: int) -> None:
        raise FlashError(FLASH_RANGE, "read only")

    def program(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        raise FlashError(FLASH_RANGE, "read only")


def describe_flash(data: bytes, board: Board) -> Facts:
    """Every region of a whole flash, `data`, of the board's size.

    `code` is that of the first slot whose `code` is not "".
    """
    flash = _Bytes(data, board)
    facts: Facts = {"what": "flash", "code": "", "detail": ""}
    facts |= {"board": board.name, "bytes": len(data)}
    regions: Facts = {}
    for name, place in board.regions.items():
        about = asdict(place)
        window = Region(flash, place.offset, place.size)
        if name.startswith("slot_"):
            part = data[place.offset : place.offset + place.size]
            about |= describe_slot(part, board)
            if about["code"] and not facts["code"]:
                facts |= {"code": about["code"], "detail": f"{name}: {about['detail']}"}
        elif name == "epoch":
            about |= {"epoch": EpochCounter(window).read()}
        else:
            about |= _log(window, name == "journal")
        regions[name] = about
    return facts | {"regions": regions}


def describe_slot(data: bytes, board: Board) -> Facts:
    """One slot, of a slot's size: its container ({} if it is erased) and its trailer.

    `code` is "" unless the trailer offers a damaged container to the boot stage.
    """
    layout = Layout(len(data), board.write_bytes, board.erase_bytes, board.erased)
    room = data[: layout.image_limit]
    found = describe(room, board.erased)
    empty = not room.strip(bytes([board.erased]))
    state = trailer.parse(_Bytes(data, board).read, layout)
    offered = state.armed or state.confirmed
    return {
        "what": "slot",
        "code": found["code"] if offered else "",
        "detail": found["detail"] if offered else "",
        "image_limit": layout.image_limit,
        "container": {} if empty else found,
        "trailer": _trailer(state),
    }


def _trailer(state: TrailerState) -> Facts:
    return {
        "state": _word(state),
        "magic": state.magic,
        "image_ok": state.image_ok,
        "copy_done": state.copy_done,
        "install_counter": state.counter,
        "attempts_allowed": state.attempts,
        "attempts_used": state.attempts_used,
        "boots": state.boots,
    }


def _word(state: TrailerState) -> str:
    if state.blank:
        return "erased"
    if state.confirmed:
        return "confirmed"
    if not state.armed:
        return "not armed"
    return "trial, no attempt left" if state.exhausted else "trial"


def _log(window: Region, is_journal: bool) -> Facts:
    """The newest record of a log; seq 0 = none."""
    try:
        # As large as a half can hold: the owner's own limit is not known here, and never larger.
        records = Records(window, window.size_bytes // 2 - HEAD_BYTES)
        payload = bytearray(records.max_payload)
        payload = payload[: records.load(payload)]
    except CodedError as error:
        return {"code": error.code, "detail": error.detail}
    facts: Facts = {"seq": records.seq, "record_bytes": len(payload)}
    if not records.seq:
        facts["blank"] = _is_blank(window)
    return facts | (_journal(bytes(payload)) if is_journal and payload else {})


def _is_blank(window: Region) -> bool:
    whole = bytearray(window.size_bytes)
    window.read(0, whole)
    return not whole.strip(bytes([window.erased]))


def _journal(record: bytes) -> Facts:
    start = _JOURNAL_LENGTH_BYTES
    end = start + int.from_bytes(record[:start], "little")
    try:
        if end > len(record):
            raise ValueError(f"{end} of {len(record)} bytes")
        fields = json.loads(record[start:end].decode())
        json.dumps(fields, allow_nan=False)
    except (ValueError, RecursionError) as error:
        return {"code": "BAD_JOURNAL", "detail": str(error)}
    manifest = describe(record[end:]) if len(record) > end else {}
    return {"journal": fields, "manifest": manifest}
