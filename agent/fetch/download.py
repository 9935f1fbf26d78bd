"""One artifact into the spare slot: scan, ask, prove, decode, write. No clock, no socket.

The device owns its position: it scans what flash holds against the index (FORMATS section 4) and
asks for the rest with a window of blocks in flight. Nothing reaches the decoder before its hash
matched the signed index, nothing reaches flash before the decoded hash matched.

RAM, allocated once: two index pages, the decoder's input of one block, the bit rows of `blocks`. The
caller lends one block of scratch.
"""

from agent import protocol
from agent.fetch.blocks import Blocks, Fails
from agent.fetch.decode import SUPPORTED, DecodeError, Decoder
from agent.fetch.index import Index
from agent.fetch.slot_writer import SlotWriter
from bootloader_verify.errors import FlashError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.manifest import Artifact
    from bootloader_verify.flash import Region
    from bootloader_verify.trailer import Layout

WINDOW_BLOCKS = 32  # 128 KiB of 4 KiB blocks: enough for every link measured (FACTS, Transfer)
STALL_MS = 5_000  # nothing usable for so long: what is in flight is lost
STALL_MS_MAX = 60_000  # doubled at each stall in a row up to this
_FLASH = -1  # key of flash failures among the failures; blocks count from 0, pages from -2 down
_FIRST_PAGE = -2
_UNKNOWN = -1


class Download:
    """Drives one artifact; `start` again for another one, or to look at flash anew.

    `complete`: every block is proved in flash and the rest of the slot up to the trailer is erased.
    `error`: None or (code, detail): this artifact cannot be had; GONE says another one may.
    Counters: bytes_fetched (payload bytes of blocks and pages since this boot or job), dropped
    (foreign, late, duplicate, malformed), damaged (failed a proof), stalls.
    """

    def __init__(
        self,
        region: "Region",
        layout: "Layout",
        scratch: memoryview,
        block_bytes_max: int,
        window_blocks: int = WINDOW_BLOCKS,
        stall_ms: int = STALL_MS,
    ) -> None:
        self.writer = SlotWriter(region, layout, scratch)
        self.blocks = Blocks(layout.image_limit // protocol.BLOCK_BYTES_MIN + 1)
        self._decoder = Decoder(block_bytes_max, scratch)
        self._index = Index()
        self._fails = Fails()
        self._window = max(1, window_blocks)
        self._quarter = max(1, window_blocks // 4)
        self._stall_ms = self._stall_now_ms = stall_ms
        self._artifact: "Artifact | None" = None
        self._nonce = 0
        self.new_job()
        self._begin()

    # --- life ---------------------------------------------------------------------------------
    def new_job(self) -> None:
        """Another manifest: counters and failures begin at 0."""
        self._fails.reset()
        self._stall_now_ms = self._stall_ms
        self.bytes_fetched = self.dropped = self.damaged = self.stalls = 0

    def start(self, artifact: "Artifact", image_size: int, nonce: int) -> None:
        """Begin with a scan; answers that do not carry `nonce` are foreign."""
        self._artifact, self._nonce = artifact, nonce
        self.writer.start(image_size, artifact.block_size)
        self.blocks.start(artifact.blocks, self.writer.per_sector)
        self._index.start(artifact)
        self._begin()

    def stop(self) -> None:
        """Nothing to do and nothing to ask for until the next `start`."""
        self._artifact = None

    def _begin(self) -> None:
        self.complete = False
        self.error: "tuple[str, str] | None" = None
        self._prepared = self._trailer_clear = False
        self._tail_at = _UNKNOWN
        self._busy_until_ms: "int | None" = None
        self._since_ms = 0  # when something usable last came, or the first of it was asked for

    @property
    def _running(self) -> bool:
        return self._artifact is not None and not self.complete and self.error is None

    @property
    def writing(self) -> bool:
        """True once the scan met a missing block and the slot was cleared for writing."""
        return self._prepared

    # --- local work: one bounded piece a call -------------------------------------------------
    def step(self) -> bool:
        """Hash one block, or erase one thing, or check one sector. True if there is more to do."""
        if not self._running:
            return False
        try:
            return self._scan_one() or self._prepare() or self._finish()
        except FlashError as err:
            self._flash_failed(err)
            return False

    def _scan_one(self) -> bool:
        if self.blocks.scanned:
            return False
        entry = self._index.entry(self.blocks.scan_next)
        if entry is None:
            return False
        encoded_len, encoding, flags = entry[0], entry[1], entry[2]
        if flags or encoding not in SUPPORTED:
            self.error = ("UNSUPPORTED", "a block of encoding {}".format(encoding))
        elif not 0 < encoded_len <= self.writer.block_size:
            self.error = ("BAD_MANIFEST", "an encoded block of {} bytes".format(encoded_len))
        else:
            self.blocks.note_scan(self.writer.stands(self.blocks.scan_next, entry[4]))
        return self.error is None

    def _prepare(self) -> bool:
        """Before the first write: no trailer, then no first block. One erase a call."""
        if self._prepared or self.blocks.next_missing() is None:
            return False
        if not self._trailer_clear:
            if not self.writer.trailer_is_blank():
                self.writer.erase_trailer()
            self._trailer_clear = True
            return True
        if not self.writer.first_is_blank():
            self.writer.erase_first()
            self.blocks.lose_sector(0)
        elif self.writer.per_sector > 1:
            self._keep_first_sector()
        self._prepared = True
        return True

    def _keep_first_sector(self) -> None:
        """Sector 0 with all but block 0 is how a cut download looks: go on with it.

        When block 0 is all that is missing, the cut may have hit its write: then erase once more.
        """
        if self.blocks.only_first_left:
            self.writer.erase_first()
            self.blocks.lose_sector(0)
        elif not self.blocks.any_wanted(1, self.writer.per_sector):
            self.writer.trust_first_sector()

    def _finish(self) -> bool:
        """All blocks stand: erase what an older, longer image left behind this one."""
        if not self.blocks.complete:
            return False
        if self._tail_at == _UNKNOWN:
            self._tail_at = self.writer.tail_start()
        if self._tail_at < self.writer.limit:
            self._tail_at = self.writer.clear_tail(self._tail_at)
            return True
        self.complete = True
        return False

    # --- asking -------------------------------------------------------------------------------
    def next_get(self, now_ms: int) -> "bytes | None":
        """The next request to send, or None: a page, or a quarter of the window of blocks."""
        if not self._running:
            return None
        self._check_stall(now_ms)
        if self._busy_until_ms is not None and now_ms < self._busy_until_ms:
            return None
        self._busy_until_ms = None
        if not self._waiting:
            self._since_ms = now_ms  # the stall clock starts with the first request
        page = self._index.next_page(self.blocks)
        if page is not None:
            return self._request(protocol.KIND_PAGE, [(page, 1)])
        if not self._prepared or self._can_scan():
            return None
        if self.blocks.in_flight > self._window - self._quarter:
            return None
        ranges = self.blocks.collect(self._quarter, protocol.RANGES_MAX, self._index.has)
        return self._request(protocol.KIND_BLOCK, ranges) if ranges else None

    def _request(self, kind: int, ranges: "list[tuple[int, int]]") -> bytes:
        assert self._artifact is not None
        return protocol.pack_get(self._nonce, kind, self._artifact.id, ranges)

    @property
    def _waiting(self) -> bool:
        return self.blocks.in_flight > 0 or self._index.waiting

    def _can_scan(self) -> bool:
        """More missing blocks may be found first, so that one request asks for several."""
        return not self.blocks.scanned and self._index.has(self.blocks.scan_next)

    def _check_stall(self, now_ms: int) -> None:
        """Nothing came for a while: ask again for what is missing, later again the next time."""
        if not self._waiting or now_ms - self._since_ms < self._stall_now_ms:
            return
        self.stalls += 1
        self._stall_now_ms = min(self._stall_now_ms * 2, STALL_MS_MAX)
        self.forget_in_flight()

    def forget_in_flight(self) -> None:
        """What was asked for will not come (link lost, stall): all of it is missing again."""
        self.blocks.unask_all()
        self._index.forget_asked()

    def link_up(self) -> None:
        """A new connection: ask at once."""
        self.forget_in_flight()
        self._stall_now_ms = self._stall_ms
        self._busy_until_ms = None

    # --- what comes in ------------------------------------------------------------------------
    def on_data(self, message: memoryview, now_ms: int) -> None:
        """One data message. The view is used during the call only."""
        header = protocol.parse_data_header(message)
        if not self._running or header is None or header[0] != self._nonce:
            self.dropped += 1
            return
        kind, number, crc = header[1], header[3], header[5]
        payload = message[protocol.DATA_HEADER_BYTES :]
        if kind == protocol.KIND_BLOCK:
            self._on_block(number, crc, payload, now_ms)
        elif kind == protocol.KIND_PAGE:
            self._on_page(number, crc, payload, now_ms)
        elif len(payload):
            self.dropped += 1  # damaged on the way: the CRC does not cover the header
        elif kind == protocol.KIND_BUSY:
            self.forget_in_flight()
            self._busy_until_ms = now_ms + min(number, protocol.WAIT_MS_MAX)
        else:
            self.error = ("GONE", "the server does not have the artifact")

    def _on_page(self, number: int, crc: int, payload: memoryview, now_ms: int) -> None:
        self.bytes_fetched += len(payload)
        if not self._index.awaits(number):
            self.dropped += 1
            return
        code = self._index.take(number, crc, payload)
        if code:
            self._damaged(_FIRST_PAGE - number, code, "index page {}".format(number))
        else:
            self._progressed(now_ms)

    def _on_block(self, block: int, crc: int, payload: memoryview, now_ms: int) -> None:
        self.bytes_fetched += len(payload)
        if not self._prepared or block >= self.blocks.count or not self.blocks.is_open(block):
            self.dropped += 1  # foreign, or it stands already
            return
        if block == 0 and not self.blocks.only_first_left:
            self.blocks.hold_first()  # it was asked for behind all others, one of them got lost
            self.dropped += 1
            return
        entry = self._index.entry(block)
        self.blocks.unask(block)
        if entry is None:
            self.dropped += 1  # its page has left: ask again
            return
        self._take(block, crc, payload, entry)
        if self.blocks.is_done(block):
            self._progressed(now_ms)

    def _take(
        self,
        block: int,
        crc: int,
        payload: memoryview,
        entry: "tuple[int, int, int, bytes, bytes]",
    ) -> None:
        """Prove, decode, prove, write. What fails leaves flash as it was, or the block missing."""
        encoded_len, encoding, _, encoded_sha16, decoded_sha16 = entry
        what = "block {}".format(block)
        if not protocol.crc_holds(crc, payload):
            self._damaged(block, "BAD_CRC", what)
        elif len(payload) != encoded_len or protocol.sha16(payload) != encoded_sha16:
            self._damaged(block, "BAD_HASH", what)
        else:
            self._decode_and_write(block, encoding, payload, decoded_sha16, what)

    def _decode_and_write(
        self, block: int, encoding: int, payload: memoryview, decoded_sha16: bytes, what: str
    ) -> None:
        try:
            data = self._decoder.decode(encoding, payload, self.writer.block_bytes(block))
        except MemoryError:
            self._damaged(block, "OUT_OF_MEMORY", what)  # a raw artifact needs less
            return
        except DecodeError as err:
            # These are the publisher's own bytes: asking again would bring the same.
            self.error = ("BAD_HASH", what + ": " + err.detail)
            return
        if protocol.sha16(data) != decoded_sha16:
            self.error = ("BAD_HASH", what + " decodes to something else")
            return
        try:
            self.writer.write(block, data)
            self.blocks.mark_done(block)
        except FlashError as err:
            self.blocks.lose_sector(block)
            self._flash_failed(err)

    def _progressed(self, now_ms: int) -> None:
        self._since_ms = now_ms
        self._stall_now_ms = self._stall_ms

    def _damaged(self, key: int, code: str, what: str) -> None:
        self.damaged += 1
        if self._fails.add(key):
            self.error = (code, what + " came damaged too often")

    def _flash_failed(self, err: FlashError) -> None:
        """What did not hold is tried again; a flash that goes on refusing is worn."""
        if self._fails.add(_FLASH):
            self.error = (err.code, err.detail)
