"""An image as blocks and an index, so that a device can fetch, prove and write it in any order.

Format: agent/PROTOCOL.md "Index". An artifact's encoding is a name in the manifest ("deflate": blocks
that deflating does not make smaller stay raw), a block's encoding is a number in its index entry.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent import protocol

BLOCK_SIZE = 4096  # bytes of a decoded block: what every board of ours takes
_LEVEL = 9  # zlib's best: made once, fetched by every device


@dataclass(frozen=True)
class Artifact:
    """`index`: all entries of 36 bytes. `blocks`: encoded. `page_hashes`: 32 bytes a page."""

    encoding: str
    block_size: int
    index: bytes
    page_hashes: tuple[bytes, ...]
    blocks: tuple[bytes, ...]

    @property
    def id(self) -> bytes:
        """16 bytes, by which a device asks for it."""
        return protocol.artifact_id(self.page_hashes)

    @property
    def bytes(self) -> int:
        """Encoded bytes of all blocks."""
        return sum(map(len, self.blocks))

    def entry(self) -> dict[str, Any]:
        """Its entry in a manifest."""
        return {
            "encoding": self.encoding,
            "base": None,
            "block_size": self.block_size,
            "blocks": len(self.blocks),
            "index_sha256": [page_hash.hex() for page_hash in self.page_hashes],
            "bytes": self.bytes,
        }


def _raw(block: bytes) -> tuple[int, bytes]:
    return protocol.RAW, block


def _deflate(block: bytes) -> tuple[int, bytes]:
    """A raw stream on its own: any block can be decoded without the others."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -protocol.DEFLATE_WBITS)
    encoded = stream.compress(block) + stream.flush()
    return (protocol.DEFLATE, encoded) if len(encoded) < len(block) else _raw(block)


# name in the manifest -> (encoding number, encoded bytes) of one block
_ENCODERS: dict[str, Callable[[bytes], tuple[int, bytes]]] = {"deflate": _deflate, "raw": _raw}
ENCODINGS = tuple(_ENCODERS)  # in the order of preference


def make(image: bytes, encoding: str, block_size: int = BLOCK_SIZE) -> Artifact:
    """The artifact that rebuilds `image` (at least one byte) in steps of `block_size` bytes."""
    if not image or block_size & (block_size - 1):
        raise ValueError("an artifact needs bytes, and a block size that is a power of two")
    if not protocol.BLOCK_BYTES_MIN <= block_size <= protocol.BLOCK_BYTES_MAX:
        raise ValueError(f"block size {block_size}")
    entries, blocks = [], []
    for at in range(0, len(image), block_size):
        block = image[at : at + block_size]
        number, encoded = _ENCODERS[encoding](block)
        hashes = protocol.sha16(encoded), protocol.sha16(block)
        entries.append(protocol.pack_entry(len(encoded), number, *hashes))
        blocks.append(encoded)
    index = b"".join(entries)
    return Artifact(encoding, block_size, index, page_hashes(index), tuple(blocks))


def pages(index: bytes) -> list[bytes]:
    """The index, cut into its pages."""
    return [
        index[at : at + protocol.PAGE_BYTES_MAX]
        for at in range(0, len(index), protocol.PAGE_BYTES_MAX)
    ]


def page_hashes(index: bytes) -> tuple[bytes, ...]:
    """SHA-256 of each page: what a signed manifest lists."""
    return tuple(hashlib.sha256(page).digest() for page in pages(index))
