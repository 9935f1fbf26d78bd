"""`chargeflash board`: a virtual board by hand, and the car in front of it."""

from __future__ import annotations

import signal
from pathlib import Path

import click
from click.core import ParameterSource

from hil.errors import EXIT_NOT_FOUND, BenchError
from hil.virtual.board import HEAP, VirtualBoard
from hil.virtual.plant import DEFAULT_CARD, Plant
from hil.virtual.serial_log import Line
from host_tools.boards import load

FOLDER = Path("build/board")
DEVICE = "CP-0001"
BROKER_PORT = 1883
_LOOK_S = 1.0
_FILE = click.Path(path_type=Path)


@click.group()
def board() -> None:
    """A virtual charger to play with: its chip is a MicroPython process."""


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
    load(name)
    bytes_of_image = _read_image(image) if image else None
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
    plant = Plant(folder)
    plant.join()
    if action == "plug":
        plant.plug(connector)
    elif action == "charge":
        plant.request_power(connector, power_w)
    elif action == "unplug":
        plant.unplug(connector)
    else:
        plant.authorise(connector, card_id)


def _read_image(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        text = f"no image in {path}: {error.strerror}; chargeflash build makes one"
        raise BenchError("NO_IMAGE", text, EXIT_NOT_FOUND) from error


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
    click.echo(click.style(f"# {line.text}", dim=True) if line.note else line.text)
