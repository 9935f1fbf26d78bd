"""The life of an update, chapter by chapter. Each claim is read off the device's own words (its
status, its events, its console) or off the wire; none is assumed."""

from __future__ import annotations

import time
from pathlib import Path

from hil.demo.download import SPARE
from hil.demo.flash_look import ArmedWatch
from hil.demo.stage import Stage
from hil.demo.story import Story

_BOOT_S, _TRIAL_S = 20.0, 60.0
_LOOK_S = 3.0  # how long it is watched that a charging car keeps its update away
_WH_ROUNDED = 1  # two counters that drop fractions
_METER_FACTOR = 30  # a session of seconds moves the energy of minutes


def refused_at_boot(story: Story, stage: Stage, image: Path) -> None:
    """The factory's own mistake: it does not look at digests, so the boot stage has to."""
    data = bytearray(image.read_bytes())
    data[len(data) // 2] ^= 0x01
    stage.board.factory_flash(bytes(data))
    stage.board.power_on()
    refused = stage.board.wait_line(r"boot: slot a (refused, \w+|[\d.+]+ .*)", _BOOT_S)
    recovery = stage.board.wait_line(r"boot: (slot \w [\d.]+\+|recovery).*", _BOOT_S)
    stage.board.power_off()
    story.claim(
        "the boot stage refuses 1.0.0 with one flipped bit",
        refused.group(1) == "refused, BAD_HASH"
        and recovery.text == "boot: recovery, no slot boots",
        f"console: {refused.text}; {recovery.text}",
    )


def first_boot(story: Story, stage: Stage, image: Path) -> None:
    """The image of the factory is verified at the first boot, and the charger comes online."""
    stage.board.factory_flash(image.read_bytes())
    stage.board.power_on()
    booted = stage.board.wait_line(r"boot: slot (\w) 1\.0\.0\+0 (\w+)", _BOOT_S)
    status = stage.watch.wait(
        lambda m: m.get("version") == "1.0.0+0", _BOOT_S, "the charger at 1.0.0 on the broker"
    )
    story.claim(
        "the boot stage starts 1.0.0 as it was signed",
        booted.group(2) == status["mode"] == "confirmed" and status["slot"] == booted.group(1),
        f"console: {booted.text}",
    )


def start_session(story: Story, stage: Stage) -> None:
    """A car comes before the update does."""
    plant = stage.board.plant
    plant.plug(0)
    plant.authorise(0)
    plant.request_power(0, 7000)
    line = stage.board.wait_line(r"connector 1: session \d+ started.*", 15)
    story.say(f"a car plugs in, a card is shown, 7 kW flow; console: {line.text}")


def wait_for_car(story: Story, stage: Stage, request_id: int, spare: ArmedWatch) -> None:
    """Downloaded and verified, but a car charges. `spare` has looked since before the offer."""
    watch, board = stage.watch, stage.board
    waiting = watch.wait_status("InstallScheduled", 20, request_id=request_id)
    boots = len(board.boots)
    board.plant.meter_speed(0, _METER_FACTOR)
    time.sleep(_LOOK_S)
    story.claim(
        "while the car charges, nothing is activated",
        watch.statuses[-1]["status"] == "InstallScheduled"
        and waiting["reason"] == "TxInProgress"
        and len(board.boots) == boots
        and board.plant.outputs()[0].closed
        and spare.looks > 0
        and not spare.armed,
        f"status {waiting['status']}, {waiting['reason']}; contactor closed, no reset; slot {SPARE} "
        f"not armed in {spare.looks} looks at its trailer since the offer",
    )


def activate(story: Story, stage: Stage, request_id: int, wh_at_power_cut: int) -> None:
    """The car leaves: 1.1.0 goes through its trial. `wh_at_power_cut`: what the car had then."""
    watch, board = stage.watch, stage.board
    board.plant.unplug(0)
    ended = board.wait_line(r"connector 1: session \d+ ended .*meter (\d+) Wh", 15)
    drawn_wh = board.plant.meter_wh(0)
    story.say(f"the car leaves; console: {ended.text}")
    installed = watch.wait_status("Installed", _TRIAL_S, request_id=request_id)
    trial = board.wait_line(r"boot: slot b 1\.1\.0\+0 trial, attempt 1", 1)
    register = board.wait_line(r"connector 1: meter (\d+) Wh", 5)
    story.claim(
        "1.1.0 went through its trial and is confirmed",
        installed["version"] == "1.1.0+0" and installed["mode"] == "confirmed",
        f"{trial.text[6:]}; {' > '.join(watch.trace(request_id)[-4:])}",
    )
    story.claim(
        "the energy register survived the update",
        int(register.group(1)) == int(ended.group(1)) > 0,
        f"{ended.group(1)} Wh at the end of the session, 1.1.0 starts with {register.group(1)} Wh",
    )
    _claim_energy(story, drawn_wh, int(register.group(1)), wh_at_power_cut)


def _claim_energy(story: Story, drawn_wh: int, register_wh: int, most_lost_wh: int) -> None:
    """The register was stored at the start of the session: the power cut may cost what flowed
    since then, see examples/charger_app/README.md."""
    lost_wh = drawn_wh - register_wh
    most_wh = most_lost_wh + _WH_ROUNDED
    story.claim(
        "the power cut cost no more energy than is promised",
        0 <= lost_wh <= most_wh,
        f"the car drew {drawn_wh} Wh, the register has {register_wh} Wh: {lost_wh} Wh of at most "
        f"{most_wh} Wh",
    )


def bad_release(story: Story, stage: Stage, request_id: int, mark: int) -> None:
    """1.2.0 boots and talks, but would not charge: its self-test fails, three times.

    `mark`: of the serial log, before the offer."""
    failed = stage.watch.wait_status("InstallationFailed", _TRIAL_S, request_id=request_id)
    tried = [line.text for line in stage.board.log.lines(mark) if "1.2.0+0 trial" in line.text]
    story.claim(
        "1.2.0 was tried three times and never confirmed",
        [text[-1] for text in tried] == ["1", "2", "3"],
        "; ".join(text[6:] for text in tried),
    )
    story.claim(
        "1.1.0 runs again by itself",
        failed["version"] == "1.1.0+0" and failed["mode"] == "confirmed",
        f"status: version {failed['version']}, slot {failed['slot']}, {failed['mode']}",
    )
    story.claim(
        "the status says why",
        failed["reason"] == "TrialBootFailed" and "contactor" in failed["detail"],
        f"{failed['reason']}: {failed['detail']}",
    )
