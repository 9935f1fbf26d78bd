"""The index pages in RAM: what each block must be. FORMATS section 4, PROTOCOL.md "Index".

Two pages are held, the one that is worked on and the next, so that the window never runs dry at a
page's end. A page counts once its SHA-256 is the one in the signed manifest. The entry of block 0
is kept apart, because block 0 is written last, when its page has left long ago.
"""

import hashlib

from agent import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.fetch.blocks import Blocks
    from agent.manifest import Artifact

_PAGES_HELD = 2
_NONE = -1


class _Page:
    """One index page: held, asked for (`number` set), or nothing."""

    def __init__(self) -> None:
        self.buf = memoryview(bytearray(protocol.PAGE_BYTES_MAX))
        self.expect(_NONE)

    def expect(self, number: int) -> None:
        self.number, self.held = number, False
        self.first = max(number * protocol.PAGE_ENTRIES, 1)  # block 0 has its own entry
        self.end = (number + 1) * protocol.PAGE_ENTRIES


class Index:
    """The pages of one artifact, as far as they are here."""

    def __init__(self) -> None:
        self._pages = [_Page() for _ in range(_PAGES_HELD)]
        self._first = memoryview(bytearray(protocol.ENTRY_BYTES))
        self._first_known = False
        self._artifact: "Artifact | None" = None

    def start(self, artifact: "Artifact") -> None:
        """Another artifact: nothing is held."""
        self._artifact = artifact
        self._first_known = False
        for page in self._pages:
            page.expect(_NONE)

    def forget_asked(self) -> None:
        """What was asked for will not come."""
        for page in self._pages:
            if not page.held:
                page.expect(_NONE)

    @property
    def waiting(self) -> bool:
        """True when a page is asked for and not here."""
        return any(page.number != _NONE and not page.held for page in self._pages)

    def _find(self, number: int) -> "_Page | None":
        for page in self._pages:
            if page.number == number:
                return page
        return None

    def has(self, block: int) -> bool:
        """True when the block's entry is here."""
        if block == 0 and self._first_known:
            return True
        page = self._find(block // protocol.PAGE_ENTRIES)
        return page is not None and page.held

    def entry(self, block: int) -> "tuple[int, int, int, bytes, bytes] | None":
        """The block's entry (see protocol.parse_entry), None when its page is not here."""
        if block == 0 and self._first_known:
            return protocol.parse_entry(self._first, 0)
        page = self._find(block // protocol.PAGE_ENTRIES)
        if page is None or not page.held:
            return None
        return protocol.parse_entry(page.buf, block % protocol.PAGE_ENTRIES)

    # --- asking -------------------------------------------------------------------------------
    def next_page(self, blocks: "Blocks") -> "int | None":
        """The page that is needed most, now marked as asked for; None if none is, or no room is."""
        missing = blocks.next_missing()
        if missing is not None and not self.has(missing):
            return self._make_room(missing // protocol.PAGE_ENTRIES, blocks, True)
        if blocks.scanned:
            return None
        scanning = blocks.scan_next // protocol.PAGE_ENTRIES
        if not self._find(scanning):
            return self._make_room(scanning, blocks, missing is None and not blocks.in_flight)
        if (scanning + 1) * protocol.PAGE_ENTRIES < blocks.count:
            return self._make_room(scanning + 1, blocks, False)
        return None

    def _make_room(self, number: int, blocks: "Blocks", urgent: bool) -> "int | None":
        """Urgent: any page will do that no block in flight needs; else only one that is spent.

        One that is asked for stays: it would be paid for and thrown away.
        """
        if self._find(number):
            return None
        for page in self._pages:
            spent = not blocks.any_wanted(page.first, page.end)
            flying = blocks.any_in_flight(page.first, page.end)
            if page.number == _NONE or (page.held and (urgent or spent) and not flying):
                page.expect(number)
                return number
        return None

    # --- what comes in ------------------------------------------------------------------------
    def awaits(self, number: int) -> bool:
        """True when that page is asked for and not here."""
        page = self._find(number)
        return page is not None and not page.held

    def take(self, number: int, crc: int, payload: memoryview) -> str:
        """Take an awaited page: "", or why it is not that page (BAD_CRC, BAD_HASH)."""
        page, artifact = self._find(number), self._artifact
        if page is None or artifact is None:
            return "BAD_HASH"
        code = _fault(artifact, number, crc, payload)
        if code:
            page.expect(_NONE)
            return code
        page.buf[: len(payload)] = payload
        page.held = True
        if number == 0:
            self._first[:] = payload[: protocol.ENTRY_BYTES]
            self._first_known = True
        return ""


def _fault(artifact: "Artifact", number: int, crc: int, payload: memoryview) -> str:
    if len(payload) != protocol.page_bytes(number, artifact.blocks):
        return "BAD_HASH"
    if not protocol.crc_holds(crc, payload):
        return "BAD_CRC"
    return "" if hashlib.sha256(payload).digest() == artifact.page_hash(number) else "BAD_HASH"
