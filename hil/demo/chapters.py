"""The life of an update, chapter by chapter. Each claim is read off the device's own words (its
status, its events, its console) or off the wire; none is assumed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from rich.progress import BarColumn, Progress, TextColumn

from hil.demo.stage import Stage
from hil.demo.story import DemoFailedError, Story
from hil.watch import Sent

T = TypeVar("T")
BLOCK_BYTES = 4096
WINDOW_BLOCKS = 32  # what an agent has in flight at most
LINE_CUT_AT, POWER_CUT_AT = 0.30, 0.65  # of the artifact's bytes, counted on the line
_TALK_BYTES = 9_000  # three times: the retained offer, an index page; headers, acknowledgements
_LINE_DOWN_S = 2.0
_STEP_S = 0.05
_BOOT_S, _DOWNLOAD_S, _TRIAL_S = 20.0, 60.0, 60.0
_LOOK_S = 3.0  # how long it is watched that a charging car keeps its update away
_METER_FACTOR = 30  # a session of seconds moves the energy of minutes


def first_boot(story: Story, stage: Stage, image: Path) -> None:
    """The image of the factory is verified at the first boot, and the charger comes online."""
    stage.board.factory_flash(image.read_bytes())
    stage.board.power_on()
    booted = stage.board.wait_line(r"boot: slot (\w) 1\.0\.0\+0 (\w+)", _BOOT_S)
    status = stage.watch.wait(
        lambda m: m.get("version") == "1.0.0+0", _BOOT_S, "the charger at 1.0.0 on the broker"
    )
    story.claim(
        "the boot stage verified 1.0.0 and started it",
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


def download_with_cuts(story: Story, stage: Stage, request_id: int, artifact_bytes: int) -> None:
    """The line is cut at 30 %, the power at 65 %; both times the download goes on where it was."""
    line, watch = stage.link.down, stage.watch
    begun = line.bytes
    with _Bar(story, artifact_bytes, lambda: line.bytes - begun) as bar:
        bar.wait_bytes(int(LINE_CUT_AT * artifact_bytes))
        _cut_line(story, stage)
        bar.wait_bytes(int(POWER_CUT_AT * artifact_bytes))
        stage.board.power_off()
        before = _last_word(stage, request_id)
        words, sent = len(watch.statuses), len(watch.sent)
        story.say(
            f"[yellow]the power is cut[/]; the charger had reported {before['blocks_done']} blocks"
        )
        stage.board.power_on()
        goes_on = stage.board.wait_line(r"connector 1: session \d+ goes on.*", _BOOT_S)
        stage.board.wait_line(r"update: journal open, not_armed: resumes accepted", _BOOT_S)
        story.say(f"power is back; console: {goes_on.text}")
        done = bar.wait(lambda: _downloaded(stage, request_id, words), "the end of the download")
    _claim_resumed(story, before, done, watch.sent[sent:], artifact_bytes)
    _claim_cheap(story, artifact_bytes, line.bytes - begun, watch.sent)


def activate_after_session(story: Story, stage: Stage, request_id: int) -> None:
    """Downloaded and verified, but a car charges."""
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
        and board.plant.outputs()[0].closed,
        f"status {waiting['status']}, {waiting['reason']}; contactor closed, no reset",
    )
    board.plant.unplug(0)
    ended = board.wait_line(r"connector 1: session \d+ ended .*meter (\d+) Wh", 15)
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


def bad_release(story: Story, stage: Stage, request_id: int) -> None:
    """1.2.0 boots and talks, but would not charge: its self-test fails, three times."""
    mark = stage.board.log.mark()
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


def _cut_line(story: Story, stage: Stage) -> None:
    stage.link.cut()
    story.say(f"[yellow]the line is cut[/] for {_LINE_DOWN_S:g} s")
    stage.board.wait_line(r"update: downloading -> paused", 10)
    time.sleep(_LINE_DOWN_S)
    stage.link.restore()
    stage.board.wait_line(r"update: paused -> scanning", 20)


def _last_word(stage: Stage, request_id: int) -> dict[str, Any]:
    """The furthest that the device said to be; it may be further than that."""
    said = [m for m in stage.watch.statuses if m.get("request_id") == request_id]
    return max(said, key=lambda m: int(m["blocks_done"]), default={"blocks_done": 0})


def _downloaded(stage: Stage, request_id: int, since: int) -> dict[str, Any] | None:
    for message in stage.watch.statuses[since:]:
        if message.get("request_id") == request_id and message["status"] == "Downloaded":
            return message
    return None


def _claim_resumed(
    story: Story,
    before: dict[str, Any],
    done: dict[str, Any],
    sent: list[Sent],
    artifact_bytes: int,
) -> None:
    """`before`, `done`: status before the power cut and at the end; `sent`: what was sent since."""
    numbers = [one.number for one in sent if one.block]
    kept = done["blocks"] - len(set(numbers))
    fetched, sent_bytes = done["bytes_fetched"], sum(one.size for one in sent)
    story.claim(
        "after the power cut no stored block was fetched again",
        len(numbers) == len(set(numbers))
        and kept >= before["blocks_done"] > 0
        and fetched == sent_bytes < artifact_bytes,
        f"{kept} of {done['blocks']} blocks stood in flash; {len(numbers)} were asked for, each once: "
        f"{fetched:,} bytes by the charger's own count, {sent_bytes:,} by the server's, index included",
    )


def _claim_cheap(story: Story, artifact_bytes: int, on_line: int, sent: list[Sent]) -> None:
    """A cut loses what is on the line; what the server sent too early never gets that far."""
    sent_bytes = sum(one.size for one in sent)
    most_on_line = artifact_bytes + 2 * BLOCK_BYTES + _TALK_BYTES
    most_sent = artifact_bytes + 2 * min(WINDOW_BLOCKS * BLOCK_BYTES, artifact_bytes)
    story.claim(
        "a cut costs at most a block on the line, and a window at the server",
        on_line <= most_on_line and sent_bytes <= most_sent,
        f"artifact {artifact_bytes:,} bytes; over the line {on_line:,} with all other talk, at most "
        f"{most_on_line:,}; sent by the server {sent_bytes:,}, at most {most_sent:,}",
    )


class _Bar:
    """How many bytes are over the line, while something is waited for: a bar, or plain lines."""

    def __init__(self, story: Story, total: int, moved: Callable[[], int]) -> None:
        self._story, self._total, self._moved = story, total, moved
        columns = (TextColumn("  1.1.0"), BarColumn(), TextColumn("{task.completed:,} bytes"))
        self._shown = story.console.is_terminal
        self._progress = Progress(*columns, console=story.console, disable=not self._shown)
        self._task = self._progress.add_task("download", total=total)
        self._told = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def wait(self, found: Callable[[], T | None], what: str) -> T:
        """What `found` finds; DemoFailedError if it does not in time."""
        deadline = time.monotonic() + _DOWNLOAD_S
        while (answer := found()) is None:
            if time.monotonic() > deadline:
                raise DemoFailedError(f"{what} did not come within {_DOWNLOAD_S:g} s")
            self._show()
            time.sleep(_STEP_S)
        self._show()
        return answer

    def wait_bytes(self, size: int) -> None:
        """Until so many are over the line."""
        self.wait(lambda: self._moved() >= size or None, f"byte {size:,} on the line")

    def _show(self) -> None:
        moved = self._moved()
        self._progress.update(self._task, completed=moved)
        quarters = min(4, 4 * moved // self._total)
        if not self._shown and quarters > self._told:
            self._story.say(f"{25 * quarters} % of the artifact's size is over the line")
            self._told = quarters
