"""Signed base firmware and ESP32s to put it on, for several tests; on both Pythons."""

import hashlib
import struct

from bootloader_verify.ports.esp32_base import Bases
from bootloader_verify.ports.esp32_ota import BLOCK_BYTES, BaseUpdate
from tests.unit import containers
from tests.unit.esp32_chip import Chip
from tests.unit.esp32_image import app_image

OLD, FRESH = app_image(1), app_image(2)


class Board:
    ESP32 = {"chip_id": 0, "romfs": "romfs"}


class Offer:
    """A signed container of a base, in the three parts that a BaseUpdate keeps."""

    def __init__(self, payload=FRESH, names=("release_1",), **claims):
        data = containers.image(names, payload, **claims)
        self.payload = payload
        hdr_size = struct.unpack_from("<H", data, 8)[0]
        self.parts = [
            data[:hdr_size],
            payload[:BLOCK_BYTES],
            data[hdr_size + len(payload) :],
        ]

    def block(self, number):
        return self.payload[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]

    def sha256(self, number):
        return hashlib.sha256(self.block(number)).digest()

    def open(self):
        return BaseUpdate(Board, *self.parts)

    def write(self, order=None):
        """All blocks that do not stand; the update, and the numbers of those written."""
        update = self.open()
        written = []
        for number in order or range(1, update.blocks):
            if not update.stands(number, self.sha256(number)):
                update.write(number, self.block(number))
                written.append(number)
        return update, written


def factory(first=OLD, **facts):
    """A chip as it leaves the factory, after its first boot."""
    chip = Chip(**facts)
    chip.place("ota_0").put(0, first)
    assert chip.boot() == "ota_0"
    return chip


def finish(update):
    return update.finish(containers.keyset(), containers.expect())


def updated(chip, offer=None):
    update, _ = (offer or Offer()).write()
    return finish(update)


def words(bases=None):
    return str((bases or Bases()).state())
