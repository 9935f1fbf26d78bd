"""agent.main on a chip of each kind: flash, boot stage, application, and the way to the broker."""

import json

from agent import charger, main
from bootloader_verify import trailer
from bootloader_verify.counter import EpochCounter
from bootloader_verify.slot import Slot, region
from tests.unit import containers, esp32_chip, stm32_chip
from tests.unit.expect import raises
from tests.unit.fakes import App
from tests.unit.machine_chip import CAUSES, Device, Reset

KEYSET = containers.keyset_container(
    1, ("root_1", "root_2"), ("root_1", "root_2", "root_3", "release_1", "rollout_1")
)
SETTINGS = {
    "device": "CP-0001",
    "host": "192.0.2.8",
    "port": 8883,
    "tls": {"ca": "ca.der", "cert": "c.der", "key": "k.der", "server_name": "broker"},
    "network": {"wifi": {"ssid": "depot", "password": "not for the log"}},
}
SECTOR = 4096
SIZES = (
    ("slot_a", 4),
    ("slot_b", 4),
    ("epoch", 2),
    ("keyset", 4),
    ("journal", 8),
    ("events", 4),
    ("app_data", 4),
)


def board_of(chip):
    """The generated module of a small board."""
    facts = {"NAME": "small", "PORT": chip, "BLOCK_BYTES_MAX": 4096, "REVISION": "A"}
    facts.update({"VID": containers.VID, "CID": containers.CID})
    facts.update({"ERASE": SECTOR, "WRITE": 8, "ERASED": 0xFF, "REGIONS": {}})
    start = 0
    for name, sectors in SIZES:
        facts["REGIONS"][name] = (start, sectors * SECTOR)
        start += sectors * SECTOR
    facts["FLASH_SIZE"] = start
    facts["ESP32"] = {"chip_id": 0, "romfs": "romfs"}
    facts["STM32"] = {"rom_part": 0}
    return facts


def flash_of(chip, size):
    if chip == "esp32":
        return esp32_chip.Chip(romfs_bytes=size)
    return stm32_chip.Chip("h743 qspi", size)


class Board:
    pass


class Application(App):
    """Ends when somebody was at the broker: the agent tells that, waits and resets the chip."""

    def __init__(self, device, services):
        App.__init__(self)
        self._device = device
        self.services = services

    async def run(self):
        while not [one for one in self._device.sockets if one.sent]:
            await self._device.port.sleep_ms(10)


def life(chip, application=True, cause="PWRON"):
    """One life of a device up to its reset. (device, its application or None)."""
    facts = board_of(chip)
    device = Device(chip, flash_of(chip, facts["FLASH_SIZE"]))
    made = []

    def create(services):
        made.append(Application(device, services))
        return made[0]

    with device:
        device.cause = CAUSES[chip][cause]
        device.put_module("board", **facts)
        device.put_module("factory_keyset", CONTAINER=KEYSET)
        device.put_module("factory_tables", TABLES={})
        device.put_module("charger_io", CONNECTORS=1)
        device.put_module("app", create=create)
        if application:
            install(device.port, facts)
        files = {"device.json": json.dumps(SETTINGS).encode()}
        device.port.read_file = lambda name: files.get(name, name.encode())
        raises(Reset, None, main.main)
    return device, made[0] if made else None


def install(port, facts):
    board = Board()
    for name in facts:
        setattr(board, name, facts[name])
    flash = port.open_flash(board)
    EpochCounter(region(flash, board, "epoch")).raise_to(1)
    slot = Slot(flash, board, "a")
    data = containers.image()
    slot.region.program(0, data + b"\xff" * (-len(data) % 8))
    trailer.arm(slot.region, slot.layout, 1)
    trailer.confirm(slot.region, slot.layout, slot.state())


def test_a_chip_boots_runs_its_application_and_goes_to_the_broker():
    for chip in sorted(CAUSES):
        device, app = life(chip)
        assert device.mounted == ("/app", containers.PAYLOAD)
        assert (app.services.io.CONNECTORS, app.services.version) == (1, "1.2.3+4")
        assert device.nic.log == ["active", ("depot", "not for the log")]
        line = device.sockets[0]
        assert (line.address, line.is_tcp) == (("192.0.2.8", 8883), True)
        assert line.sent[0][:1] == b"\x10" and b"CP-0001" in line.sent[0]  # MQTT CONNECT
        context = device.contexts[0]
        assert (context.verify_mode, context.wrapped[1]) == (2, "broker")
        assert (context.ca, context.pair) == (b"ca.der", (b"c.der", b"k.der"))
        assert device.wdt.timeout_ms == 10_000 and device.wdt.fed > 1
        assert device.resets == 1


def test_behind_a_hang_the_agent_of_a_chip_runs_alone_first():
    device, app = life("esp32", cause="WDT")
    assert app is not None and device.ms >= 20_000  # charger.ALONE_MS


def test_a_chip_without_an_image_still_goes_to_the_broker():
    """Recovery: nothing is mounted; the line comes up, and somebody can send an image."""

    usual = charger.Charger

    class Watched(usual):
        def _make_session(self, board, updater):
            made = usual._make_session(self, board, updater)
            connect = made._net.connect

            async def connect_once():
                if made._net._tls is not None:
                    self._ask_restart("the test has seen it")
                return await connect()

            made._net.connect = connect_once
            return made

    charger.Charger = Watched
    try:
        device, app = life("esp32", application=False)
    finally:
        charger.Charger = usual
    assert (device.mounted, app) == (None, None)
    line = device.sockets[0]
    assert line.address == ("192.0.2.8", 8883) and line.sent[0][:1] == b"\x10"
