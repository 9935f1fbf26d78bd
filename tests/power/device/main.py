"""The charger of tests/power/rig.py as a MicroPython process: the real boot stage and updater over the
board's NOR file, one life a boot. Radio, clock and application are played from `server`, made by the
test. At rest it prints one line, "rest" and a JSON text.
"""

import json
import os
import time

import board
import machine
import server
import virtual_cut
from fakes import App

from agent import protocol, states
from agent.application import Application
from agent.update.parts import Parts
from agent.update.updater import Updater
from bootloader_verify import boot
from bootloader_verify.counter import EpochCounter
from bootloader_verify.keyset_store import unpack
from bootloader_verify.ports.unix import NorFile
from bootloader_verify.slot import region

TICK_MS = 100
STEPS_MAX = 5000


def silent(_text):
    pass


class Life:
    def __init__(self, flash, cause):
        keys = unpack(server.KEYSET)
        stage = boot.Boot(flash, board, keys, cause)
        self.booted = stage.select()
        app = App() if self.booted.verified is not None else None
        self.parts = Parts(
            flash, board, keys, stage, self.booted, Application(app, silent), [server.DEVICE]
        )
        self.parts.log = silent
        self.parts.restart = self.restart
        self.parts.nonce = lambda: 7
        self.ends = False
        self.updater = Updater(self.parts, 0)

    def restart(self, _reason):
        self.ends = True

    def run(self):
        """True: a reset is asked for."""
        now_ms = 0
        self.updater.on_link(True, now_ms)
        self.updater.on_message(protocol.OFFER, memoryview(server.OFFER))
        for _ in range(STEPS_MAX):
            now_ms += TICK_MS
            busy = self.updater.poll(now_ms)
            busy = self.exchange() or busy
            if self.ends:
                return True
            if not busy and self.updater.state in states.CLOSED:
                return False
        raise RuntimeError("no end in state " + self.updater.state)

    def exchange(self):
        some = False
        while True:
            message = self.updater.next_message()
            if message is None:
                return some
            some = True
            self.updater.sent(message[0])
            if message[0] == protocol.GET:
                self.serve(message[1])

    def serve(self, request):
        get = protocol.parse_get(request)
        items = server.PAGES if get.kind == protocol.KIND_PAGE else server.BLOCKS
        for first, count in get.ranges:
            for n in range(first, first + count):
                answer = protocol.pack_data(get.nonce, get.kind, n, items[n])
                self.updater.on_message(protocol.DATA, memoryview(answer))


def main():
    flash = NorFile("flash.bin", board.FLASH_SIZE, board.ERASE, board.WRITE, board.ERASED)
    flash.hook = virtual_cut.hook()
    life = Life(flash, os.getenv("CHARGEFLASH_RESET_CAUSE") or "unknown")
    if life.run():
        machine.reset()
    verified, journal = life.booted.verified, life.parts.journal
    said = {
        "mode": life.booted.mode,
        "slot": life.booted.slot.name if life.booted.slot else None,
        "version": "{}.{}.{}+{}".format(*verified.version) if verified else None,
        "epoch": EpochCounter(region(flash, board, "epoch")).read(),
        "journal": [journal.state, journal.seq, journal.outcome, journal.reason],
    }
    print("rest", json.dumps(said))
    while True:
        time.sleep(1)


main()
