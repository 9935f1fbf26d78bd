"""Keysets and images for boards of the bench, signed by the test keys: DO NOT USE them."""

from __future__ import annotations

from pathlib import Path

from host_tools.boards import Board
from tests.unit import containers
from tests.vectors import signing_DO_NOT_USE as signing

containers.signer = signing.sign


def keyset_in(folder: Path) -> Path:
    """The file of a root-signed keyset that trusts all test keys but the stranger."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "keyset-DO_NOT_USE.img"
    made = containers.other(containers.container.KIND_KEYSET, None, containers.keyset_json())
    path.write_bytes(made)
    return path


def image_for(board: Board, size: int = 5000, **claims: object) -> bytes:
    """An image that this board's boot stage takes; its payload is no application."""
    facts = {"vid": board.vid, "cid": board.cid} | claims
    body = containers.body(containers.protected_entries(**facts), bytes(size), hdr_size=512)
    return containers.seal(body)  # type: ignore[no-any-return]
