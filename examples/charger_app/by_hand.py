"""Run one assembled release alone on the virtual board's hardware, without agent and boot stage.

    python -m examples.charger_app.assemble 1.1.0 build/app-1.1.0
    mkdir -p build/hand
    CHARGEFLASH_FOLDER=build/hand micropython examples/charger_app/by_hand.py build/app-1.1.0

The car and the card are lines of build/hand/plant.in: see README.md. For MicroPython; Ctrl-C ends.
"""

import asyncio
import os
import sys

ROOT = __file__.rsplit("/", 3)[0] if __file__.count("/") > 2 else "."
FOLDER = os.getenv("CHARGEFLASH_FOLDER") or "."


class FileStore:
    """What the agent's store does, with a file: a new record counts once it is complete."""

    max_payload = 256

    def __init__(self, path):
        self._path = path

    def load(self, buf):
        try:
            with open(self._path, "rb") as f:
                return f.readinto(buf)
        except OSError:
            return 0

    def save(self, *parts):
        with open(self._path + ".new", "wb") as f:
            for part in parts:
                f.write(part)
        os.rename(self._path + ".new", self._path)


class Services:
    """The four things that an application is given."""

    def __init__(self, io, version):
        self.io = io
        self.store = FileStore(FOLDER + "/meter.bin")
        self.version = version

    def log(self, text):
        print(text)


def main(app_folder):
    """Start the release in `app_folder`, show its self-test and its states until Ctrl-C."""
    sys.path.insert(0, ROOT + "/hil/virtual/device")
    sys.path.insert(0, app_folder)
    import app
    import virtual_io

    charger = app.create(Services(virtual_io, app_folder.rsplit("-", 1)[-1]))
    print("self-test", charger.self_test())
    asyncio.run(charger.run())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: micropython examples/charger_app/by_hand.py FOLDER")
        sys.exit(2)
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        print("ended")
