"""`chargeflash offer`: a signed manifest for each device, retained by the broker until the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from agent import protocol
from bootloader_verify.container import HEADER_BYTES, KIND_MANIFEST
from host_tools import container, files, manifest, mqtt
from host_tools.errors import (
    EXIT_USAGE,
    EXIT_VERIFICATION,
    ToolError,
)
from host_tools.manifest import Image, Policy
from host_tools.signer import FileSigner, Signer
from host_tools.status import check_names
from host_tools.store import Store

_YEAR_S = 366 * 86400
_SECONDS = click.IntRange(0, _YEAR_S)
_LISTING_BYTES_MAX = 16 * 1024 * 1024  # some 250,000 of the longest names


@dataclass(frozen=True)
class Offered:
    """What was offered to a device."""

    device: str
    request_id: int
    seq: int


class Offers:
    """Makes signed manifests for one published image. ToolError: see the calls in here."""

    def __init__(self, store: Store, digest: bytes, policy: Policy, signer: Signer) -> None:
        self._store, self._policy, self._signer = store, policy, signer
        data, entries = store.published(digest)
        self.image = _facts(data, digest)
        if signer.key_id in self.image.key_ids:
            text = (
                "this key signed the image: a manifest needs the ROLLOUT key, not the RELEASE key"
            )
            raise ToolError("WRONG_ROLE", text, EXIT_VERIFICATION)
        self._artifacts = manifest.fitting(self.image, entries, policy)

    def make(self, device: str) -> tuple[Offered, bytes]:
        """A new container (kind 2) for the device; its seq and request id are used up by it.

        To be called, and what it made published, in the device's `turn`.
        """
        request_id, seq = self._store.next_offer(device, self.image.digest)
        payload = manifest.build(seq, request_id, device, self.image, self._artifacts, self._policy)
        return Offered(device, request_id, seq), sealed(payload, seq, self._signer)

    def turn(self, device: str) -> AbstractContextManager[None]:
        """Hold off everybody else who has an offer for the device."""
        return self._store.offering(device)


def _facts(data: bytes, digest: bytes) -> Image:
    """What the image says, from bytes that still are what was published."""
    image = manifest.read_image(data)
    if image.digest != digest or image.size != len(data):
        text = f"image {digest.hex()} is damaged: publish it again"
        raise ToolError("DAMAGED", text)
    return image


def sealed(payload: bytes, seq: int, signer: Signer) -> bytes:
    """The payload as a signed container; `seq` stands in its version as well, for `show`."""
    unsigned = container.build(
        payload,
        KIND_MANIFEST,
        f"0.0.0+{seq}",
        header_bytes=HEADER_BYTES,
    )
    made = container.add_signature(unsigned, signer)
    if len(made) > manifest.CONTAINER_BYTES_MAX:
        raise ToolError("TOO_LARGE", f"a manifest container of {len(made)} bytes")
    return made


@click.command()
@click.argument("image", metavar="IMAGE|DIGEST")
@click.option("--device", "named", multiple=True, help="A device or a group; as often as wanted.")
@click.option(
    "--devices", "listing", type=click.Path(path_type=Path), help="A file, a name a line."
)
@click.option("--store", "folder", type=click.Path(path_type=Path), required=True)
@mqtt.options
@click.option("--rollout-key", type=click.Path(path_type=Path), required=True)
@click.option("--attempts", type=click.IntRange(1, 3), default=3, show_default=True)
@click.option("--confirm-s", type=click.IntRange(1, 86400), default=600, show_default=True)
@click.option("--require-unplugged", is_flag=True)
@click.option("--allow-downgrade", is_flag=True)
@click.option("--deadline-s", type=_SECONDS, default=0, help="0: no limit.")
@click.option("--max-deferral-s", type=_SECONDS, default=0, help="0: no limit.")
def offer(
    image: str,
    named: tuple[str, ...],
    listing: Path | None,
    folder: Path,
    url: str,
    ca: Path | None,
    cert: Path | None,
    tls_key: Path | None,
    rollout_key: Path,
    **policy: Any,
) -> None:
    """Offer a published image (its file, or the beginning of its digest) to devices."""
    devices = _devices(named, listing)
    address = mqtt.address(url, ca, cert, tls_key)
    store = Store(folder)
    offers = Offers(store, _digest(store, image), Policy(**policy), FileSigner(rollout_key))
    with mqtt.Connection(address) as broker:
        for offered in send(offers, devices, broker):
            click.echo(f"request_id={offered.request_id} seq={offered.seq} device={offered.device}")


def send(offers: Offers, devices: tuple[str, ...], broker: mqtt.Connection) -> Iterator[Offered]:
    """Publish an offer to each device; yields each one that the broker has acknowledged."""
    for device in devices:
        with offers.turn(device):
            offered, made = offers.make(device)
            broker.publish(protocol.topic(device, protocol.OFFER), made, retain=True)
        yield offered


def _digest(store: Store, image: str) -> bytes:
    """Of a file's own bytes, or of the name; in the store either way."""
    path = Path(image)
    digest = manifest.read_image(files.read(path)).digest.hex() if path.is_file() else image
    return store.find(digest)


def _devices(named: tuple[str, ...], listing: Path | None) -> tuple[str, ...]:
    """Every name once, in the order given."""
    names = (*named, *(_read_names(listing) if listing else ()))
    if not names:
        raise ToolError("NO_DEVICE", "name the devices: --device or --devices", EXIT_USAGE)
    check_names(names)
    return tuple(dict.fromkeys(names))


def _read_names(listing: Path) -> list[str]:
    try:
        lines = files.read(listing, _LISTING_BYTES_MAX, "list of devices").decode().splitlines()
    except UnicodeError as error:
        raise ToolError("UNREADABLE", f"{listing} is no text: {error}", EXIT_USAGE) from error
    words = (line.partition("#")[0].strip() for line in lines)
    return [word for word in words if word]
