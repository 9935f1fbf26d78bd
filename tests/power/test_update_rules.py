"""What a charger does with offers, commands, lost lines and failing images, seen from outside.

The whole device in one process (rig.py): what is said is what the broker would get.
"""

from __future__ import annotations

from typing import Any

import pytest

from agent import states
from bootloader_verify import decision
from bootloader_verify.slot import Slot
from tests.power.flash_model import RamNor
from tests.power.rig import (
    RELEASE,
    STRANGER,
    Life,
    World,
    image,
    live,
    offered,
    payload_for,
    refusal,
    running,
)

OLD, GOOD, ILL = image("1.0.0"), image("1.1.0"), image("1.2.0")


def changed(payload: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The payload with one field, `image.size` say, set to another value."""
    *parents, last = path.split(".")
    place = payload
    for name in parents:
        place = place[name]
    place[last] = value
    return payload


# --- offers that are refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, value, code",
    [
        ("device", "CP-0002", "WRONG_DEVICE"),
        ("image.vid", "00" * 16, "WRONG_HW"),
        ("image.cid", "00" * 16, "WRONG_HW"),
        ("image.revisions", ["B", "C"], "WRONG_HW"),
        ("image.epoch", 0, "ROLLBACK"),
        ("image.epoch", 18, "EPOCH_JUMP"),
        ("image.version", "0.9.0+0", "DOWNGRADE"),
        ("policy.window", "02:00-04:00", "UNSUPPORTED"),
        ("policy.not_before", 1_900_000_000, "UNSUPPORTED"),
        ("seq", 0, "BAD_MANIFEST"),
        ("request_id", 0, "BAD_MANIFEST"),
        ("image.size", 8, "BAD_MANIFEST"),
        ("v", 2, "BAD_MANIFEST"),
    ],
)
def test_an_offer_that_breaks_a_rule_is_refused_and_writes_nothing(
    flash: RamNor, world: World, path: str, value: Any, code: str
) -> None:
    offered(world, changed(payload_for(world, GOOD), path, value))
    event = refusal(flash, world)
    assert (event["event"], event["code"]) == ("OfferRejected", code)
    assert event["request_id"] == (0 if code == "BAD_MANIFEST" else 101)


def test_t10_an_image_larger_than_the_slot_is_refused_before_any_byte_moves(
    flash: RamNor, world: World
) -> None:
    world.publish(image("1.1.0", size=20_000), 1)
    assert refusal(flash, world)["code"] == "OUT_OF_STORAGE"
    assert not world.fetched


def test_t25_the_running_image_offered_again_is_no_work(flash: RamNor, world: World) -> None:
    world.publish(OLD, 1)
    assert refusal(flash, world)["code"] == "ALREADY_INSTALLED"


def test_t29_t31_only_a_manifest_signed_by_rollout_is_one(flash: RamNor, world: World) -> None:
    payload = payload_for(world, GOOD)
    for signer, code in ((RELEASE, "WRONG_ROLE"), (STRANGER, "UNKNOWN_KEY")):
        offered(world, payload, signer)
        assert refusal(flash, world)["code"] == code
    world.offer = image("1.1.0", size=1000)
    assert refusal(flash, world)["code"] in ("WRONG_KIND", "WRONG_ROLE")


def test_a_tampered_manifest_is_refused(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1)
    torn = bytearray(world.offer)
    torn[200] ^= 1
    world.offer = bytes(torn)
    event = refusal(flash, world)
    assert (event["code"], event["request_id"]) == ("BAD_HASH", 0)


def test_t32_a_replayed_offer_is_a_security_event(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 5)
    live(flash, world)
    world.publish(image("1.3.0"), 4)
    event = refusal(flash, world)
    assert (event["event"], event["code"]) == ("AttemptedReplayAttacks", "REPLAY")


def test_the_same_offer_again_is_not_even_an_event(flash: RamNor, world: World) -> None:
    world.publish(GOOD, 1)
    live(flash, world)
    said = len(world.events)
    live(flash, world)
    assert len(world.events) == said


def test_a_refused_offer_is_reported_once_a_boot(flash: RamNor, world: World) -> None:
    world.publish(OLD, 1)
    life = Life(flash, world, "power")
    for _ in range(5):
        life.run()
    assert [e["code"] for e in world.events] == ["ALREADY_INSTALLED"]


def test_an_allowed_downgrade_is_installed(flash: RamNor, world: World) -> None:
    world.publish(image("0.9.0"), 1, allow_downgrade=True)
    assert running(live(flash, world)) == "0.9.0"


# --- images that are refused ------------------------------------------------------------------


def slot_is_no_image(flash: RamNor, world: World) -> bool:
    head = bytearray(512)
    Slot(flash, world.map, "b").region.read(0, head)
    return bytes(head) == b"\xff" * 512


def test_v01_an_image_by_an_unknown_signer_is_downloaded_and_never_armed(
    flash: RamNor, world: World
) -> None:
    world.publish(image("1.1.0", signer=STRANGER), 1)
    life = live(flash, world)
    assert world.words(101) == ["Downloading", "Downloaded", "InvalidSignature"]
    assert world.statuses[-1]["reason"] == "InvalidCertificate"
    assert ("InvalidFirmwareSignature", "UNKNOWN_KEY") in [
        (e["event"], e["code"]) for e in world.events
    ]
    assert running(life) == "1.0.0" and slot_is_no_image(flash, world)
    assert [b.mode for b in world.boots] == [decision.CONFIRMED]


def test_t30_a_good_image_that_the_manifest_did_not_name_is_not_armed(
    flash: RamNor, world: World
) -> None:
    # DER signatures differ in length by a byte or two: one of the same size, so that only the
    # digest can tell.
    other = next(one for n in range(4, 30) if len(one := image(f"1.{n}.0")) == len(GOOD))
    payload = payload_for(world, GOOD)
    payload["artifacts"] = [world.artifact(other).entry()]
    offered(world, payload)
    life = live(flash, world)
    assert world.words(101)[-1] == "InstallVerificationFailed"
    assert world.statuses[-1]["reason"] == "HashMismatch"
    assert "MISMATCH" in world.statuses[-1]["detail"]
    assert running(life) == "1.0.0" and slot_is_no_image(flash, world)


def test_t45_damage_behind_the_download_costs_only_the_damaged_block(
    flash: RamNor, world: World
) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    life.run(until=lambda one: one.updater.state == states.VERIFYING)
    flash.flip(world.map.REGIONS["slot_b"][0] + 5000, 0x04)
    world.fetched.clear()
    assert life.run()
    assert world.fetched[:1] == [4] and set(world.fetched) <= {0, 4}
    assert running(live(flash, world, "hard")) == "1.1.0"


def test_an_image_that_changes_between_verification_and_arming_is_not_armed(
    flash: RamNor, world: World
) -> None:
    world.publish(GOOD, 1)
    life = Life(flash, world, "power")
    life.run(until=lambda one: one.updater.state == states.WAITING)
    flash.flip(world.map.REGIONS["slot_b"][0] + 5000, 0x04)
    assert not life.run()
    assert world.words(101)[-1] == "InstallVerificationFailed"
    assert running(live(flash, world)) == "1.0.0"
