"""`python -m hil.demo`: the whole life of an update on a virtual board, in under two minutes.

Exit code 0 only if all claims were made and every one held. The files stay in build/demo/ for a look.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from hil.demo import chapters, refusals
from hil.demo.download import SPARE, Download
from hil.demo.flash_look import ArmedWatch
from hil.demo.releases import ROLES, Vendor
from hil.demo.stage import Stage, serving, stage_for
from hil.demo.story import DemoFailedError, Story
from hil.errors import BenchError
from host_tools.errors import ToolError

FOLDER = Path("build/demo")
CLAIMS = 18  # a story that makes fewer has left something out
_PLAIN_COLUMNS = 120
_MARK = "DEMO"


def tell(story: Story, folder: Path, embedded: bool) -> None:
    """The whole story; DemoFailedError or BenchError when it cannot go on."""
    vendor = Vendor(story, folder)
    story.chapter("Keys, and the first release")
    vendor.make_keys(*ROLES)
    vendor.make_keyset()
    vendor.build("1.0.0")
    story.chapter("A charger leaves the factory")
    with stage_for(story, folder, vendor.keyset, embedded) as stage:
        chapters.refused_at_boot(story, stage, vendor.image("1.0.0"))
        chapters.first_boot(story, stage, vendor.image("1.0.0"))
        story.chapter("1.1.0 is published and offered while a car charges")
        vendor.build("1.1.0")
        # Deflated it would pass in a second, too fast to see a cut: see examples/charger_app/README.md.
        story.say("published undeflated, so that there is something to see on this line")
        artifact_id = vendor.publish("1.1.0", "--encoding", "raw")
        with serving(story, vendor.store, stage.broker_url):
            good_update(story, stage, vendor, vendor.blocks_file(artifact_id))
            bad_update(story, stage, vendor)
            refuse(story, stage, vendor)
            refusals.nothing_changed(story, stage)
            refusals.no_other_boot(story, stage)


def good_update(story: Story, stage: Stage, vendor: Vendor, blocks_file: Path) -> None:
    """1.1.0, from the offer to the confirmation."""
    chapters.start_session(story, stage)
    download = Download(story, stage, vendor.image("1.1.0"), blocks_file)
    with ArmedWatch(stage.board, SPARE) as spare:
        request_id = vendor.offer(stage, "1.1.0")
        story.chapter("The download meets a cut line, a wrong block and a power cut")
        download.run(request_id)
        story.chapter("Activation waits for the car")
        chapters.wait_for_car(story, stage, request_id, spare)
    chapters.activate(story, stage, request_id, download.wh_at_power_cut)


def bad_update(story: Story, stage: Stage, vendor: Vendor) -> None:
    """1.2.0, from the offer to the rollback."""
    story.chapter("1.2.0 would not charge: it rolls back by itself")
    stage.link.rate_bytes_s = None
    story.say("the line is fast from here on")
    vendor.build("1.2.0")
    vendor.publish("1.2.0")
    mark = stage.board.log.mark()
    chapters.bad_release(story, stage, vendor.offer(stage, "1.2.0"), mark)


def refuse(story: Story, stage: Stage, vendor: Vendor) -> None:
    """Tampered, foreign, older, failed before."""
    story.chapter("What is refused, and by which code")
    refusals.tampered_file(story, vendor)
    refusals.foreign_signer(story, stage, vendor)
    vendor.publish("1.0.0")
    refusals.downgrade(story, stage, vendor)
    refusals.failed_release_again(story, stage, vendor)


def _make_empty(folder: Path) -> None:
    """A demo that was told here before goes; a folder with anything else in it is refused."""
    try:
        if folder.exists() and not (folder / _MARK).exists() and any(folder.iterdir()):
            raise click.UsageError(f"{folder} holds something else: name an empty folder")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / _MARK).write_text("Made by python -m hil.demo, which empties this folder.\n")
    except OSError as error:
        text = f"{folder} cannot be the demo's folder: {error.strerror}"
        raise click.UsageError(text) from error


def _tell_to_the_end(story: Story, folder: Path, embedded: bool) -> None:
    """Whatever breaks the story off is a claim that did not hold."""
    try:
        tell(story, folder, embedded)
    except (DemoFailedError, BenchError, ToolError, subprocess.TimeoutExpired, OSError) as error:
        story.claim("the story was told to its end", False, str(error))
    except KeyboardInterrupt:
        story.claim("the story was told to its end", False, "interrupted")


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
@click.option("--embedded-broker", is_flag=True, help="Do not use mosquitto even if it is here.")
def main(folder: Path, embedded_broker: bool) -> None:
    """Build, sign, update with a line cut and a power cut, confirm, roll back, refuse."""
    _make_empty(folder)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without our signs gets "?"
    width = None if sys.stdout.isatty() else _PLAIN_COLUMNS
    story = Story(Console(width=width), folder, CLAIMS)
    began = time.monotonic()
    _tell_to_the_end(story, folder, embedded_broker)
    story.console.print()
    story.console.print(story.table())
    took_s = time.monotonic() - began
    story.console.print(f"{story.verdict()}, {took_s:.0f} s, files in {folder}/")
    sys.exit(0 if story.ok else 1)


if __name__ == "__main__":
    main()
