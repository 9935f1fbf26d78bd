"""The deployment manifest: which image, for which device, under which policy. Signed by ROLLOUT.

Format: agent/PROTOCOL.md "Manifest payload". What fits: a payload has 4,096 bytes and an index page
of 28 blocks takes 67 of them. With blocks of 4,096 bytes, the longest device name and the largest
numbers that is 24 pages for each of two artifacts (deflate and raw), an image of 2,752,512 bytes, or
51 pages for one, 5,849,088 bytes; in between the raw artifact is left out. A list of hardware
revisions may cost a page.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from agent import protocol
from bootloader_verify import container as form
from host_tools import container
from host_tools.errors import EXIT_VERIFICATION, ToolError

PAYLOAD_BYTES_MAX = 4096
CONTAINER_BYTES_MAX = PAYLOAD_BYTES_MAX + 1024  # header, TLVs, up to four signatures
ARTIFACTS_MAX = 4
REVISIONS_MAX = container.REVISIONS_MAX
_U31, _U32 = 0x7FFFFFFF, 0xFFFFFFFF
_LONGEST_NAME = "x" * protocol.NAME_CHARS_MAX


@dataclass(frozen=True)
class Image:
    """What a container says of itself. `size` in bytes; `digest` 32, `vid` and `cid` 16 bytes."""

    digest: bytes
    size: int
    version: str
    epoch: int
    vid: bytes
    cid: bytes
    revisions: tuple[str, ...]
    key_ids: tuple[bytes, ...]

    def fields(self) -> dict[str, Any]:
        """The manifest's `image`."""
        return {
            "sha256": self.digest.hex(),
            "size": self.size,
            "version": self.version,
            "epoch": self.epoch,
            "vid": self.vid.hex(),
            "cid": self.cid.hex(),
            "revisions": list(self.revisions),
        }


@dataclass(frozen=True)
class Policy:
    """How the device activates and confirms; times in seconds, 0 = no limit."""

    attempts: int = 3
    confirm_s: int = 600
    require_unplugged: bool = False
    allow_downgrade: bool = False
    deadline_s: int = 0
    max_deferral_s: int = 0

    def fields(self) -> dict[str, Any]:
        """The manifest's `policy`; agents without a clock take no start time and no window."""
        return asdict(self) | {"not_before": 0, "window": None}


def read_image(data: bytes) -> Image:
    """The image in a container whose bytes still have its digest; ToolError with the rung's code.

    Signatures are not looked at: `publish` did that before the bytes came under this digest.
    """
    header, tlvs = container.parse(data)
    container.check_digest(data, header, tlvs)
    claims = tlvs.protected
    if claims.get(form.TLV_KIND) != bytes([form.KIND_IMAGE]):
        raise ToolError("WRONG_KIND", "the container is no image", EXIT_VERIFICATION)
    if not {form.TLV_SEC_CNT, form.TLV_VID, form.TLV_CID} <= set(claims):
        text = "the image names no epoch or no hardware class"
        raise ToolError("WRONG_HW", text, EXIT_VERIFICATION)
    return Image(
        digest=tlvs.sha256,
        size=tlvs.end,
        version=container.version_text(header.version),
        epoch=struct.unpack("<I", claims[form.TLV_SEC_CNT])[0],
        vid=claims[form.TLV_VID],
        cid=claims[form.TLV_CID],
        revisions=_revisions(claims.get(form.TLV_REVISIONS)),
        key_ids=tuple(pair[0] for pair in tlvs.pairs),
    )


def _revisions(listed: bytes | None) -> tuple[str, ...]:
    if listed is None:
        return ()
    names = tuple(listed.decode("ascii", "replace").split(","))
    if len(names) > REVISIONS_MAX or not all(map(protocol.is_name, names)):
        text = f"a manifest takes up to {REVISIONS_MAX} hardware revisions, each of them a name"
        raise ToolError("WRONG_HW", text, EXIT_VERIFICATION)
    return names


def build(
    seq: int,
    request_id: int,
    device: str,
    image: Image,
    artifacts: Iterable[dict[str, Any]],
    policy: Policy,
) -> bytes:
    """The JSON payload. `artifacts`: entries in the order of preference (Artifact.entry)."""
    fields = {
        "v": protocol.VERSION,
        "seq": seq,
        "request_id": request_id,
        "device": device,
        "image": image.fields(),
        "artifacts": list(artifacts),
        "policy": policy.fields(),
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def fitting(image: Image, artifacts: list[dict[str, Any]], policy: Policy) -> list[dict[str, Any]]:
    """As many of the artifacts as a payload takes, whatever the device's name; the last go first.

    ToolError TOO_LARGE when not even the preferred one fits.
    """
    fits = artifacts[:ARTIFACTS_MAX]
    while fits:
        if len(build(_U32, _U31, _LONGEST_NAME, image, fits, policy)) <= PAYLOAD_BYTES_MAX:
            return fits
        fits = fits[:-1]
    largest = largest_image(image, artifacts[:1], policy)
    text = f"an image of {image.size} bytes has too many blocks for a manifest: at most {largest}"
    raise ToolError("TOO_LARGE", text)


def largest_image(image: Image, artifacts: list[dict[str, Any]], policy: Policy) -> int:
    """Bytes of the largest image like this one for which as many artifacts fit."""
    pages, size = 0, 0
    while True:
        pages += 1
        longer = [_of_pages(entry, pages) for entry in artifacts]
        if len(build(_U32, _U31, _LONGEST_NAME, image, longer, policy)) > PAYLOAD_BYTES_MAX:
            return size
        size = min(entry["bytes"] for entry in longer)


def _of_pages(entry: dict[str, Any], pages: int) -> dict[str, Any]:
    """The entry as an image of that many full index pages would have it."""
    blocks = pages * protocol.PAGE_ENTRIES
    hashes = ["0" * 64] * pages
    return entry | {
        "blocks": blocks,
        "bytes": blocks * entry["block_size"],
        "index_sha256": hashes,
    }
