"""A version that failed here is refused until an operator allows it, or a newer one comes."""

from __future__ import annotations

from agent import protocol
from bootloader_verify.errors import FlashError
from tests.power.flash_model import RamNor
from tests.power.rig import Life, World, image, live, running

ILL = image("1.2.0")


def failed(flash: RamNor, world: World) -> None:
    world.publish(ILL, 1)
    live(flash, world)
    assert world.words(101)[-1] == "InstallationFailed"


def codes(world: World) -> list[str]:
    return [event["code"] for event in world.events if event["event"] == "OfferRejected"]


def test_it_is_refused_after_every_reset(flash: RamNor, world: World) -> None:
    failed(flash, world)
    for seq in (2, 3):
        world.publish(ILL, seq)
        live(flash, world)
    assert codes(world) == ["DENIED", "DENIED"]


def test_a_newer_one_is_taken(flash: RamNor, world: World) -> None:
    failed(flash, world)
    world.publish(image("1.3.0"), 2)
    assert running(live(flash, world)) == "1.3.0"


def test_an_operator_may_allow_it_again(flash: RamNor, world: World) -> None:
    failed(flash, world)
    world.publish(ILL, 2)
    life = live(flash, world)
    life.updater.on_message(protocol.CMD, memoryview(protocol.pack_cmd(protocol.CMD_ALLOW, 9)))
    for _ in range(3):
        life.tick()
    assert world.events[-1]["event"] == "FailedImagesAllowed"
    assert world.events[-1]["request_id"] == 9
    world.ill.clear()
    assert running(live(flash, world)) == "1.2.0"  # the broker retains the offer
    assert codes(world) == ["DENIED"]


def test_allowing_survives_a_reset_and_leaves_an_open_job_alone(
    flash: RamNor, world: World
) -> None:
    failed(flash, world)
    world.publish(image("1.3.0"), 2)
    life = Life(flash, world, "power")
    life.app.answers["charging"] = True
    life.run(until=lambda one: one.updater.state == "waiting")
    life.updater.on_message(protocol.CMD, memoryview(protocol.pack_cmd(protocol.CMD_ALLOW)))
    assert life.parts.journal.denied == []
    life = live(flash, world)
    assert running(life) == "1.3.0" and life.parts.journal.denied == []


def test_a_flash_that_does_not_keep_it_changes_nothing(flash: RamNor, world: World) -> None:
    failed(flash, world)
    life = live(flash, world)

    def refuse(offset: int, data: object) -> None:
        raise FlashError("FLASH_FAILED", "worn out")

    flash.program = refuse  # type: ignore[method-assign,assignment]
    life.updater.on_message(protocol.CMD, memoryview(protocol.pack_cmd(protocol.CMD_ALLOW)))
    for _ in range(3):
        life.tick()
    assert [world.events[-1][name] for name in ("event", "code")] == [
        "CommandRejected",
        "FLASH_FAILED",
    ]
    assert life.parts.journal.denied != [] and life.parts.device.denied != []
