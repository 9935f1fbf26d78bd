"""`chargeflash board`: a virtual board by hand, and the car in front of it.

Here too, as one command has one group: what host_tools does with board files (check, files).
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import click
from click.core import ParameterSource

from agent.protocol import is_name
from hil.errors import BenchError
from hil.virtual.board import HEAP, VirtualBoard, is_taken
from hil.virtual.factory import check_image, read_image
from hil.virtual.plant import DEFAULT_CARD, Plant
from hil.virtual.serial_log import Line
from host_tools.board.check import check
from host_tools.board.files import files_command
from host_tools.boards import Board, load
from host_tools.errors import EXIT_DEVICE, EXIT_NOT_FOUND, EXIT_USAGE

FOLDER = Path("build/board")
DEVICE = "CP-0001"
BROKER_PORT = 1883
_LOOK_S = 1.0
_HEAP = re.compile("([0-9]{1,9})([kKmM]?)")
_HEAP_LEAST = 128 * 1024  # below it not even the boot stage gets to speak
_FILE = click.Path(path_type=Path)


@click.group()
def board() -> None:
    """Board files, and a virtual charger to play with: its chip is a MicroPython process."""


board.add_command(check)
board.add_command(files_command)


@board.command()
@click.option("--board", "name", default="virtual-esp32", show_default=True)
@click.option("--folder", type=_FILE, default=FOLDER, show_default=True, help="The board itself.")
@click.option("--image", type=_FILE, help="Flash this image as the factory does; erases the rest.")
@click.option("--keyset", type=_FILE, help="Make the base firmware anew; it trusts these keys.")
@click.option("--device", default=DEVICE, show_default=True, help="Its name on the broker.")
@click.option(
    "--broker-port", type=click.IntRange(1, 65535), default=BROKER_PORT, show_default=True
)
@click.option("--heap", default=HEAP, show_default=True, help="MicroPython's heap.")
def run(
    name: str,
    folder: Path,
    image: Path | None,
    keyset: Path | None,
    device: str,
    broker_port: int,
    heap: str,
) -> None:
    """Switch a board on and show its console, until Ctrl-C switches it off.

    The first run needs --keyset; later ones go on with what the folder holds.
    """
    _check_heap(heap)
    _check_device(device)
    described = load(name)
    bytes_of_image = _image_for(described, image) if image else None
    with VirtualBoard(folder, name, heap=heap) as virtual:
        if keyset:
            virtual.provision(device, broker_port, keyset)
        elif virtual.base is None:
            text = f"{folder} holds no board yet: name the keys that it trusts with --keyset"
            raise BenchError("NO_BASE", text, EXIT_NOT_FOUND)
        elif _named("device", "broker_port"):
            virtual.configure(device, "127.0.0.1", broker_port)
        if bytes_of_image is not None:
            virtual.factory_flash(bytes_of_image)
        _introduce(virtual, folder)
        _stay(virtual)


@board.command()
@click.argument("action", type=click.Choice(["plug", "charge", "unplug", "card"]))
@click.option("--folder", type=_FILE, default=FOLDER, show_default=True)
@click.option("--connector", type=click.IntRange(0, 1), default=0, show_default=True)
@click.option("--power-w", type=click.IntRange(1, 22000), default=7000, show_default=True)
@click.option("--card", "card_id", default=DEFAULT_CARD, show_default=True)
def car(action: str, folder: Path, connector: int, power_w: int, card_id: str) -> None:
    """Be the car, or the hand with the card, at a board that runs."""
    if not (folder / "plant.in").is_file():
        raise BenchError("NO_BOARD", f"no board has run in {folder}", EXIT_NOT_FOUND)
    if not is_taken(folder):
        text = f"the board in {folder} does not run: chargeflash board run --folder {folder}"
        raise BenchError("NOT_RUNNING", text, EXIT_DEVICE)
    plant = Plant(folder)
    with plant.joined():
        if action == "plug":
            plant.plug(connector)
        elif action == "charge":
            plant.request_power(connector, power_w)
        elif action == "unplug":
            plant.unplug(connector)
        else:
            plant.authorise(connector, card_id)


def _check_heap(text: str) -> None:
    found = _HEAP.fullmatch(text)
    unit = {"": 1, "k": 1024, "m": 1024 * 1024}
    if not found or int(found[1]) * unit[found[2].lower()] < _HEAP_LEAST:
        wrong = f"--heap {text}: a number of bytes, or one with k or m behind it, of 128k or more"
        raise BenchError("BAD_HEAP", wrong, EXIT_USAGE)


def _check_device(name: str) -> None:
    if not is_name(name):
        text = f"{name!r} is no device name: letters, digits and ._- only, up to 64"
        raise BenchError("BAD_NAME", text, EXIT_USAGE)


def _image_for(board: Board, path: Path) -> bytes:
    """Looked at before the board is touched: a mistake here must not cost its base firmware."""
    image = read_image(path)
    check_image(image, board)
    return image


def _named(*options: str) -> bool:
    """Did the user give one of these?"""
    context = click.get_current_context()
    return any(context.get_parameter_source(o) is ParameterSource.COMMANDLINE for o in options)


def _introduce(virtual: VirtualBoard, folder: Path) -> None:
    click.echo(f"board {virtual.board} in {folder}/: flash.bin, serial.log, plant.in, plant.out")
    click.echo(f"serial port {folder}/tty: mpremote connect {folder}/tty resume")
    click.echo(f"the car: chargeflash board car plug --folder {folder}")
    click.echo("Ctrl-C switches it off\n")


def _stay(virtual: VirtualBoard) -> None:
    """Until Ctrl-C or SIGTERM; BenchError if the bench itself fails."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    virtual.log.watch(_show)
    try:
        virtual.power_on()
        while not virtual.wait_ended(_LOOK_S):
            pass
    except KeyboardInterrupt:
        click.echo("\nswitched off")


def _show(line: Line) -> None:
    text = f"# {line.text}" if line.note else line.text
    plain = not line.note or os.environ.get("NO_COLOR")
    click.echo(text if plain else click.style(text, dim=True))
