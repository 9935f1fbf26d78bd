"""`chargeflash build`: an application's folder becomes an image for one board."""

from __future__ import annotations

from pathlib import Path

import click

from bootloader_verify import ladder
from bootloader_verify.container import AREA_BYTES, KIND_IMAGE
from host_tools import boards, container, files, romfs
from host_tools.boards import Board
from host_tools.errors import EXIT_USAGE, ToolError
from host_tools.signer import FileSigner

# What a P-256 signature will need: two TLV heads, the key hash, the longest DER.
_SIGNATURE_BYTES = 2 * AREA_BYTES + 32 + 72
_EPOCHS = click.IntRange(0, 0xFFFFFFFF)


@click.command()
@click.argument("folder", metavar="APP_FOLDER", type=click.Path(path_type=Path))
@click.option("--board", "board_name", required=True, help="Its name, or a .toml file.")
@click.option("--version", required=True, help="Like 1.4.0 or 1.4.0+12.")
@click.option(
    "--epoch",
    type=_EPOCHS,
    default=1,
    show_default=True,
    help="The security counter: never lower it.",
)
@click.option("--revisions", help="Only for these hardware revisions: A,B.")
@click.option(
    "--key", type=click.Path(path_type=Path), help="RELEASE key (private PEM); unsigned without."
)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def build(
    folder: Path,
    board_name: str,
    version: str,
    epoch: int,
    revisions: str | None,
    key: Path | None,
    out: Path,
) -> None:
    """Build APP_FOLDER into an image for a board. The same input gives the same payload and digest.

    Python files are compiled, everything else goes in as it is; what begins with a dot stays out.
    """
    board = boards.load(board_name)
    signer = FileSigner(key) if key else None
    image = make(romfs.build(folder), board, version, epoch, _listed(revisions))
    if signer:
        image = container.add_signature(image, signer)
    check_fits(image, board, 0 if signer else _SIGNATURE_BYTES)
    files.write_new(out, image)
    signed = f"signed by {ladder.short(signer.key_id)}" if signer else "unsigned"
    click.echo(f"built {out}  {_facts(image, board)}  {signed}")


def _listed(revisions: str | None) -> tuple[str, ...]:
    """The names; nothing between the commas is no way to say "for all"."""
    if revisions is None:
        return ()
    names = tuple(name.strip() for name in revisions.split(",") if name.strip())
    if not names:
        raise ToolError("BAD_CLAIM", "--revisions names none", EXIT_USAGE)
    return names


def make(
    payload: bytes, board: Board, version: str, epoch: int = 1, revisions: tuple[str, ...] = ()
) -> bytes:
    """An unsigned image (container bytes) with this ROMFS for this board."""
    return container.build(
        payload, KIND_IMAGE, version, epoch, board.vid, board.cid, revisions=revisions
    )


def check_fits(image: bytes, board: Board, reserve_bytes: int = 0) -> None:
    """ToolError OUT_OF_STORAGE unless the image and `reserve_bytes` more fit a slot of the board."""
    size = len(image) + reserve_bytes
    if size > board.image_limit:
        text = f"the image takes {size} bytes, a slot of {board.name} {board.image_limit}"
        raise ToolError("OUT_OF_STORAGE", text)


def _facts(image: bytes, board: Board) -> str:
    header, tlvs = container.parse(image)
    room = f"{len(image)} of {board.image_limit} bytes"
    version = container.version_text(header.version)
    return f"image {version} for {board.name}  {room}  digest {tlvs.sha256.hex()}"
