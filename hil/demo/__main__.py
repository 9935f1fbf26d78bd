"""`python -m hil.demo`: the whole life of an update on a virtual board, in under two minutes.

Exit code 0 only if every claim of the closing table held. The files stay in build/demo/ for a look.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from hil.demo import chapters, refusals
from hil.demo.releases import ROLES, Vendor
from hil.demo.stage import Stage, serving, stage_for
from hil.demo.story import DemoFailedError, Story
from hil.errors import BenchError

FOLDER = Path("build/demo")
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
        chapters.first_boot(story, stage, vendor.image("1.0.0"))
        story.chapter("1.1.0 is published and offered while a car charges")
        vendor.build("1.1.0")
        # Deflated it would pass in a second, too fast to see a cut: see examples/charger_app/README.md.
        story.say("published undeflated, so that there is something to see on this line")
        artifact_bytes = vendor.publish("1.1.0", "--encoding", "raw")
        with serving(story, vendor.store, stage.broker_url):
            good_update(story, stage, vendor, artifact_bytes)
            bad_update(story, stage, vendor)
            refuse(story, stage, vendor)


def good_update(story: Story, stage: Stage, vendor: Vendor, artifact_bytes: int) -> None:
    """1.1.0, from the offer to the confirmation."""
    chapters.start_session(story, stage)
    request_id = vendor.offer(stage, "1.1.0")
    story.chapter("The download meets a cut line and a power cut")
    chapters.download_with_cuts(story, stage, request_id, artifact_bytes)
    story.chapter("Activation waits for the car")
    chapters.activate_after_session(story, stage, request_id)


def bad_update(story: Story, stage: Stage, vendor: Vendor) -> None:
    """1.2.0, from the offer to the rollback."""
    story.chapter("1.2.0 would not charge: it rolls back by itself")
    stage.link.rate_bytes_s = None
    story.say("the line is fast from here on")
    vendor.build("1.2.0")
    vendor.publish("1.2.0")
    chapters.bad_release(story, stage, vendor.offer(stage, "1.2.0"))


def refuse(story: Story, stage: Stage, vendor: Vendor) -> None:
    """Tampered, foreign, older, failed before."""
    story.chapter("What is refused, and by which code")
    refusals.tampered_file(story, vendor)
    refusals.foreign_signer(story, stage, vendor)
    vendor.publish("1.0.0")
    refusals.downgrade(story, stage, vendor)
    refusals.failed_release_again(story, stage, vendor)
    refusals.nothing_changed(story, stage)


def _make_empty(folder: Path) -> None:
    """A demo that was told here before goes; a folder with anything else in it is refused."""
    if folder.exists() and not (folder / _MARK).exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} holds something else: name an empty folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / _MARK).write_text("Made by python -m hil.demo, which empties this folder.\n")


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
@click.option("--embedded-broker", is_flag=True, help="Do not use mosquitto even if it is here.")
def main(folder: Path, embedded_broker: bool) -> None:
    """Build, sign, update with a line cut and a power cut, confirm, roll back, refuse."""
    _make_empty(folder)
    width = None if sys.stdout.isatty() else _PLAIN_COLUMNS
    story = Story(Console(width=width), folder)
    began = time.monotonic()
    try:
        tell(story, folder, embedded_broker)
    except (DemoFailedError, BenchError) as error:
        story.claim("the story was told to its end", False, str(error))
    except KeyboardInterrupt:
        story.claim("the story was told to its end", False, "interrupted")
    story.console.print()
    story.console.print(story.table())
    held = sum(claim.held for claim in story.claims)
    took_s = time.monotonic() - began
    story.console.print(f"{held} of {len(story.claims)} held, {took_s:.0f} s, files in {folder}/")
    sys.exit(0 if story.ok else 1)


if __name__ == "__main__":
    main()
