"""`chargeflash publish`: a verified image, cut into blocks, into the store that servers serve from."""

from __future__ import annotations

from pathlib import Path

import click

from bootloader_verify import ladder
from bootloader_verify.container import KIND_IMAGE
from bootloader_verify.keyset import RELEASE
from host_tools import artifact, container, files, manifest
from host_tools.artifact import Artifact
from host_tools.errors import EXIT_USAGE, ToolError
from host_tools.manifest import Image, Policy
from host_tools.signer import PublicKey
from host_tools.store import Store


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--store", "folder", type=click.Path(path_type=Path), required=True)
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A RELEASE key (public PEM) that may have signed it; as often as wanted.",
)
@click.option(
    "--encoding",
    "encodings",
    type=click.Choice(artifact.ENCODINGS),
    multiple=True,
    help="Only this one; default: each, the preferred first.",
)
def publish(image: Path, folder: Path, keys: tuple[Path, ...], encodings: tuple[str, ...]) -> None:
    """Verify IMAGE with the keys and publish it; the store is made if it is not there."""
    data = files.read(image)
    facts, data = verified(data, [PublicKey(path) for path in keys])
    made = artifacts(facts, data, encodings or artifact.ENCODINGS)
    Store(folder, create=True).add(facts.digest, data, made)
    click.echo(f"image {facts.digest.hex()} {facts.size} bytes")
    click.echo(f"version {facts.version} epoch {facts.epoch}")
    for one in made:
        blocks = f"{one.bytes} bytes in {len(one.blocks)} blocks"
        click.echo(f"artifact {one.id.hex()} {one.encoding} {blocks}")


def verified(data: bytes, keys: list[PublicKey]) -> tuple[Image, bytes]:
    """(facts, container bytes without erased padding); ToolError with the ladder's code."""
    if not keys:
        raise ToolError("NO_KEY", "an image is published only when a key verifies it", EXIT_USAGE)
    trusted = container.keyset_of(keys, RELEASE)
    found = container.verify(data, trusted, ladder.Expect(KIND_IMAGE))
    data = data[: found.end]
    return manifest.read_image(data), data


def artifacts(
    facts: Image, data: bytes, encodings: tuple[str, ...] = artifact.ENCODINGS
) -> list[Artifact]:
    """One of each encoding, in that order; ToolError TOO_LARGE if no manifest could offer it."""
    made = [artifact.make(data, name) for name in dict.fromkeys(encodings)]
    manifest.fitting(facts, [one.entry() for one in made], Policy())
    return made
