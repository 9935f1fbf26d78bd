"""What is not genuine, not newer or not trusted gets a code and changes nothing."""

from __future__ import annotations

import json

from hil.demo.releases import Vendor
from hil.demo.stage import DEVICE, Stage
from hil.demo.story import Story

_VERIFICATION_EXIT = 4
_REFUSAL_S, _DOWNLOAD_S = 20.0, 60.0


def tampered_file(story: Story, vendor: Vendor) -> None:
    """One flipped bit in a signed file: it is not published."""
    data = bytearray(vendor.image("1.1.0").read_bytes())
    data[len(data) // 2] ^= 0x01
    bad = vendor.folder / "charger-1.1.0-tampered.img"
    bad.write_bytes(data)
    words = ["publish", str(bad), "--store", str(vendor.store), "--key", vendor.public("release")]
    output = story.command(*words, expect=_VERIFICATION_EXIT)
    story.claim(
        "an image with one flipped bit is refused before it is published",
        output.endswith("[BAD_HASH]"),
        f"publish exits {_VERIFICATION_EXIT}, BAD_HASH",
    )


def foreign_signer(story: Story, stage: Stage, vendor: Vendor) -> None:
    """Someone stole ROLLOUT and the server, but not RELEASE: the charger refuses the image."""
    vendor.make_keys("stranger")
    vendor.build("1.3.0", source="1.1.0", signer="stranger")
    vendor.publish("1.3.0", signer="stranger")
    seen = len(stage.watch.events)
    request_id = vendor.offer(stage, "1.3.0")
    refused = stage.watch.wait_status("InvalidSignature", _DOWNLOAD_S, request_id=request_id)
    event = stage.watch.wait_event(
        "InvalidFirmwareSignature", _REFUSAL_S, since=seen, request_id=request_id
    )
    story.claim(
        "an image by a foreign signer is never armed",
        event["code"] == "UNKNOWN_KEY" and refused["version"] == "1.1.0+0",
        f"status InvalidSignature, event {event['code']}; still {refused['version']}",
    )


def downgrade(story: Story, stage: Stage, vendor: Vendor) -> None:
    """Genuine, but older, and no signed permission to go back."""
    _refused_offer(story, stage, vendor, "1.0.0", "a downgrade is refused", "DOWNGRADE")


def failed_release_again(story: Story, stage: Stage, vendor: Vendor) -> None:
    """The release that was rolled back is offered again."""
    _refused_offer(story, stage, vendor, "1.2.0", "a release that failed is refused", "DENIED")


def nothing_changed(story: Story, stage: Stage) -> None:
    """After all of it, asked as an operator asks."""
    output = story.command("status", DEVICE, "--broker", stage.broker_url, "--json", quiet=True)
    said = json.loads(output)["devices"][0]
    status = said["status"]
    story.claim(
        "after all of it the charger runs 1.1.0, confirmed, and is online",
        (status["version"], status["mode"], said["online"]) == ("1.1.0+0", "confirmed", True),
        f"chargeflash status: {status['version']}, {status['mode']}, online {said['online']}",
    )


def _refused_offer(
    story: Story, stage: Stage, vendor: Vendor, version: str, what: str, code: str
) -> None:
    seen = len(stage.watch.events)
    request_id = vendor.offer(stage, version)
    event = stage.watch.wait_event("OfferRejected", _REFUSAL_S, since=seen, request_id=request_id)
    text = f"event OfferRejected, {event['code']}: {event['detail']}"
    story.claim(f"{what} by the charger", event["code"] == code, text)
