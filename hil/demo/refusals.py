"""What is not genuine, not newer or not trusted gets a code and changes nothing."""

from __future__ import annotations

import json

from hil.demo.flash_look import is_armed, trailer_of
from hil.demo.releases import Vendor
from hil.demo.stage import DEVICE, Stage
from hil.demo.story import Story

_VERIFICATION_EXIT = 4
_REFUSAL_S, _DOWNLOAD_S, _BOOT_S = 20.0, 60.0, 20.0
# 1.0.0 refused, started, after the power cut; 1.1.0 on trial; 1.2.0 three times; 1.1.0 again, after
# the power cycle.
_BOOTS = 9
_SPARE, _RUNS = "a", "b"  # 1.1.0 came into slot b


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
    armed = is_armed(stage.board, _SPARE)
    story.claim(
        "an image by a foreign signer is refused and not armed",
        event["code"] == "UNKNOWN_KEY" and refused["version"] == "1.1.0+0" and not armed,
        f"status InvalidSignature, event {event['code']}; still {refused['version']}, slot {_SPARE} "
        + ("armed" if armed else "not armed"),
    )


def downgrade(story: Story, stage: Stage, vendor: Vendor) -> None:
    """Genuine, but older, and no signed permission to go back."""
    _refused_offer(story, stage, vendor, "1.0.0", "a downgrade is refused", "DOWNGRADE")


def failed_release_again(story: Story, stage: Stage, vendor: Vendor) -> None:
    """The release that was rolled back is offered again."""
    _refused_offer(story, stage, vendor, "1.2.0", "a release that failed is refused", "DENIED")


def nothing_changed(story: Story, stage: Stage) -> None:
    """After all of it the power is switched off and on: what boots then is what an attacker got."""
    board, watch = stage.board, stage.watch
    board.power_off()
    armed, confirmed = is_armed(board, _SPARE), trailer_of(board, _RUNS).confirmed
    said_before, mark = len(watch.statuses), board.log.mark()
    board.power_on()
    booted = board.wait_line(r"boot: slot \w \d.*", _BOOT_S, since=mark)
    watch.wait(lambda m: m.get("mode") == "confirmed", _BOOT_S, "a status", since=said_before)
    output = story.command("status", DEVICE, "--broker", stage.broker_url, "--json", quiet=True)
    said = json.loads(output)["devices"][0]
    status = said["status"]
    story.claim(
        "after all of it, and a power cycle, the charger runs 1.1.0, confirmed, and is online",
        not armed
        and confirmed
        and booted.text == f"boot: slot {_RUNS} 1.1.0+0 confirmed"
        and (status["version"], status["mode"], said["online"]) == ("1.1.0+0", "confirmed", True),
        f"flash.bin: slot {_SPARE} {'armed' if armed else 'not armed'}; console: {booted.text}; "
        f"chargeflash status: {status['version']}, {status['mode']}, online {said['online']}",
    )


def no_other_boot(story: Story, stage: Stage) -> None:
    """A charger that resets itself for no reason would still pass all the rest."""
    board = stage.board
    boots = len(board.boots)
    broken = [line.text for line in board.log.lines() if line.text.startswith("Traceback")]
    story.claim(
        "the charger had no reset but those of this story",
        boots == _BOOTS and not broken,
        f"{boots} boots of {_BOOTS}, {len(broken)} tracebacks on the console",
    )


def _refused_offer(
    story: Story, stage: Stage, vendor: Vendor, version: str, what: str, code: str
) -> None:
    watch = stage.watch
    seen, sent = len(watch.events), len(watch.sent)
    request_id = vendor.offer(stage, version)
    event = watch.wait_event("OfferRejected", _REFUSAL_S, since=seen, request_id=request_id)
    fetched = len(watch.sent) - sent
    text = f"event OfferRejected, {event['code']}: {event['detail']}; {fetched} blocks were sent"
    story.claim(f"{what} by the charger", event["code"] == code and not fetched, text)
