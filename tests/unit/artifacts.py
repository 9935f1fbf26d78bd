"""Artifacts built by hand, and one Download on a RAM flash with a server beside it (both Pythons)."""

import hashlib

from agent import protocol
from agent.fetch.download import STALL_MS, WINDOW_BLOCKS, Download
from agent.manifest import Artifact
from bootloader_verify.flash import Region
from bootloader_verify.trailer import Layout
from tests.power.flash_model import RamNor

BLOCK = 1024
SLOT = 16384
NONCE = 0x1234
TEXT_BLOCK = (b"The quick charger feeds the lazy car. " * 60)[:BLOCK]
# TEXT_BLOCK as a raw deflate stream, and 4096 zeros: four times what a block may hold.
TEXT_DEFLATED = bytes.fromhex(
    "0bc94855282ccd4cce5648ce482c4a4f2d52484b4d4d295628018ae72456552a242716e929848caa1a5535aa6a18aa0200"
)
BOMB = bytes.fromhex("edc1010d000000c2a0f74f6d0f0714000000f06e")


def noise(size, seed=1):
    """Bytes in which no two blocks are alike, the same for the same seed."""
    out = b""
    while len(out) < size:
        out += hashlib.sha256(b"%d %d" % (seed, len(out))).digest()
    return out[:size]


class Made:
    """What a server has of one image, raw. `replace` puts other encoded bytes in a block's place."""

    def __init__(self, image, block_size=BLOCK):
        self.image = image
        self.block_size = block_size
        starts = range(0, len(image), block_size)
        self.decoded = [image[at : at + block_size] for at in starts]
        self.encodings = [protocol.RAW] * len(self.decoded)
        self.blocks = list(self.decoded)
        self.encoded_lens = None  # other lengths than the true ones, for an index that lies

    def replace(self, block, encoding, encoded):
        self.encodings[block], self.blocks[block] = encoding, encoded
        return self

    def entry(self, block):
        encoded, decoded = self.blocks[block], self.decoded[block]
        size = len(encoded) if self.encoded_lens is None else self.encoded_lens[block]
        hashes = protocol.sha16(encoded), protocol.sha16(decoded)
        return protocol.pack_entry(size, self.encodings[block], hashes[0], hashes[1])

    def pages(self):
        """The index, cut into its pages."""
        entries = [self.entry(n) for n in range(len(self.blocks))]
        step = protocol.PAGE_ENTRIES
        return [b"".join(entries[at : at + step]) for at in range(0, len(entries), step)]

    def described(self):
        """As the manifest describes it."""
        return Artifact(
            {
                "encoding": "raw",
                "block_size": self.block_size,
                "blocks": len(self.blocks),
                "bytes": sum([len(block) for block in self.blocks]),
                "index_sha256": [_hex(hashlib.sha256(page).digest()) for page in self.pages()],
            }
        )


def _hex(digest):
    return "".join(["{:02x}".format(byte) for byte in digest])


class Bench:
    """A Download of `made` into a slot of a RAM flash; `now_ms` moves only when a test moves it.

    sent: numbers of the blocks that the server sent, with repeats.
    """

    def __init__(
        self,
        made,
        flash=None,
        window=WINDOW_BLOCKS,
        stall_ms=STALL_MS,
        slot=SLOT,
        erase=1024,
        unit=8,
        erased=0xFF,
    ):
        self.made = made
        self.flash = flash or RamNor(slot, erase, unit, erased)
        region = Region(self.flash, 0, self.flash.size_bytes)
        layout = Layout(
            region.size_bytes, region.write_bytes, region.erase_bytes, self.flash.erased
        )
        self.limit = layout.image_limit
        scratch = memoryview(bytearray(made.block_size))
        self.download = Download(region, layout, scratch, made.block_size, window, stall_ms)
        self.now_ms = 1000
        self.sent = []
        self.start(made)

    def start(self, made, nonce=NONCE):
        self.made, self.nonce = made, nonce
        self.pages = made.pages()
        self.download.start(made.described(), len(made.image), nonce)

    # --- what the device does ---------------------------------------------------------------------
    def work(self):
        """All that can be done without the line."""
        while self.download.step():
            pass
        return self

    def gets(self):
        """All that the device asks for now."""
        found = []
        while True:
            self.work()
            request = self.download.next_get(self.now_ms)
            if request is None:
                return found
            found.append(protocol.parse_get(request))

    def hears(self, message):
        self.download.on_data(memoryview(message), self.now_ms)
        return self

    # --- what the server does ---------------------------------------------------------------------
    def block(self, number, payload=None, nonce=None):
        """The message with a block, or with another payload under its number."""
        payload = self.made.blocks[number] if payload is None else payload
        nonce = self.nonce if nonce is None else nonce
        return protocol.pack_data(nonce, protocol.KIND_BLOCK, number, payload)

    def page(self, number, payload=None):
        payload = self.pages[number] if payload is None else payload
        return protocol.pack_data(self.nonce, protocol.KIND_PAGE, number, payload)

    def answers(self, get):
        """What an honest server sends."""
        found = []
        for first, count in get.ranges:
            for number in range(first, first + count):
                if get.kind == protocol.KIND_PAGE:
                    found.append(self.page(number))
                else:
                    self.sent.append(number)
                    found.append(self.block(number))
        return found

    def serve(self, rounds=1000):
        """Ask and answer until there is nothing more to ask for."""
        for _ in range(rounds):
            gets = self.gets()
            if not gets:
                return self
            for get in gets:
                for message in self.answers(get):
                    self.hears(message)
        raise AssertionError("no end in {} rounds".format(rounds))

    def until_blocks(self):
        """Up to the first request for blocks, which it returns; the pages are here then."""
        for _ in range(1000):
            gets = self.gets()
            if not gets or gets[0].kind == protocol.KIND_BLOCK:
                return gets
            for get in gets:
                for message in self.answers(get):
                    self.hears(message)
        raise AssertionError("no block was asked for")

    # --- what stands there ------------------------------------------------------------------------
    @property
    def slot(self):
        return self.flash.image()

    def is_exact(self):
        """The image, and nothing but erased bytes behind it up to the trailer's sectors."""
        image, part = memoryview(self.made.image), memoryview(bytearray(BLOCK))
        for at in range(0, self.limit, BLOCK):
            self.flash.read(at, part)
            want = bytes(image[at : at + BLOCK])
            if part != want + bytes([self.flash.erased]) * (BLOCK - len(want)):
                return False
        return True


def numbers(gets):
    """The numbers of all items in these requests."""
    return [n for get in gets for first, count in get.ranges for n in range(first, first + count)]


TEN = noise(9 * BLOCK + 100)


def flipped(data, at=5):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def broken_crc(message):
    """A bit of the payload flipped on its way."""
    return flipped(message, protocol.DATA_HEADER_BYTES + 5)


def ready(window=32):
    """A bench with an image of ten blocks, all asked for and not answered yet."""
    bench = Bench(Made(TEN), window=window)
    bench.until_blocks()
    return bench


def writes(bench, message):
    """Operations on flash that a message causes."""
    before = bench.flash.operations
    bench.hears(message)
    return bench.flash.operations - before
