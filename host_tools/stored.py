"""One artifact as it lies in a store: its files open, and whether they are still what was published."""

from __future__ import annotations

import mmap
import os
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeGuard

from agent import protocol
from host_tools import artifact, files
from host_tools.errors import ToolError

INDEX, BLOCKS, ABOUT = "index.bin", "blocks.bin", "artifact.json"
_ENTRY_FIELDS = ("encoding", "base", "block_size", "blocks", "index_sha256", "bytes")


class StoredArtifact:
    """A published artifact, open: pages and encoded blocks by number.

    FileNotFoundError when there is none; ToolError DAMAGED when its files do not make up the
    artifact of that id.
    """

    def __init__(self, folder: Path, artifact_id: bytes) -> None:
        self.id, self._path = artifact_id, folder / BLOCKS
        with files.open_regular(folder / INDEX) as file:
            self._index = file.read(files.BYTES_MAX)
        self._pages = artifact.pages(self._index)
        self.page_hashes = artifact.page_hashes(self._index)
        self.blocks = len(self._index) // protocol.ENTRY_BYTES
        sizes = (protocol.parse_entry(self._index, n)[0] for n in range(self.blocks))
        self._ends = [0, *accumulate(sizes)]
        with files.open_regular(self._path) as file:
            about = os.fstat(file.fileno())
            sound = about.st_size == self.size_bytes > 0
            if protocol.artifact_id(self.page_hashes) != artifact_id or not sound:
                raise damaged(artifact_id)
            self._inode = about.st_ino
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @property
    def size_bytes(self) -> int:
        """Encoded bytes of all blocks."""
        return self._ends[-1]

    def count(self, kind: int) -> int:
        """How many items of `kind` (protocol.KIND_PAGE or KIND_BLOCK) there are."""
        return self.blocks if kind == protocol.KIND_BLOCK else len(self._pages)

    def item(self, kind: int, number: int) -> bytes:
        """The bytes of a page or of an encoded block; `number` below `count(kind)`."""
        if kind == protocol.KIND_PAGE:
            return self._pages[number]
        return self._data[self._ends[number] : self._ends[number + 1]]

    def rebuilds(self, image: bytes, block_size: int) -> bool:
        """Every encoded block has its hash, and every decoded one is that of the image."""
        if self.blocks != -(-len(image) // block_size):
            return False
        return all(
            protocol.parse_entry(self._index, n)[3:]
            == (
                protocol.sha16(self.item(protocol.KIND_BLOCK, n)),
                protocol.sha16(image[n * block_size : (n + 1) * block_size]),
            )
            for n in range(self.blocks)
        )

    def is_replaced(self) -> bool:
        """Another file has taken the place of this one: publishing mended it."""
        try:
            return self._path.stat().st_ino != self._inode
        except OSError:
            return False

    def close(self) -> None:
        """Give the file back."""
        self._data.close()


def damaged(artifact_id: bytes) -> ToolError:
    """What to say of an artifact that is not what was published."""
    text = f"artifact {artifact_id.hex()} is damaged: publish its image again"
    return ToolError("DAMAGED", text)


def checked_entry(about: dict[str, Any], found: StoredArtifact, image: bytes) -> dict[str, Any]:
    """The manifest's entry in an artifact.json; ToolError DAMAGED if the artifact is not that one,
    or does not rebuild the image."""
    entry = {field: about.get(field) for field in _ENTRY_FIELDS}
    expected = {
        "base": None,
        "blocks": found.blocks,
        "index_sha256": [page_hash.hex() for page_hash in found.page_hashes],
        "bytes": found.size_bytes,
    }
    size = entry["block_size"]
    sound = entry["encoding"] in artifact.ENCODINGS
    # As JSON: 1 == True == 1.0 for Python, not for a device.
    as_it_is = {field: (type(value), value) for field, value in entry.items()}
    if not sound or any(as_it_is[name] != (type(v), v) for name, v in expected.items()):
        raise damaged(found.id)
    if not _is_block_size(size) or not found.rebuilds(image, size):
        raise damaged(found.id)
    return entry


def _is_block_size(value: Any) -> TypeGuard[int]:
    if type(value) is not int or value & (value - 1):
        return False
    return protocol.BLOCK_BYTES_MIN <= value <= protocol.BLOCK_BYTES_MAX
