"""Runs on MicroPython: the agent's MQTT session with a hand on it, for test_mqtt_broker.py.

argv: the folder with device.json, how many bytes a message may have. Lines on stdin:
    pub LEAF QOS RETAIN TEXT        publish
    bye                             goodbye, then end
Lines on stdout: everything that the session's handler hears, and its log.
"""

import asyncio
import os
import sys

os.chdir(sys.argv[2])
sys.path.insert(0, sys.argv[1])

from agent import config  # noqa: E402
from agent.net import link, session  # noqa: E402
from agent.net.mqtt import Mqtt  # noqa: E402
from agent.ports import unix  # noqa: E402
from agent.ports.net import Net  # noqa: E402


class Hand:
    def __init__(self):
        self.messages = []

    def on_message(self, leaf, payload):
        if bytes(payload[:5]) == b"crash":
            raise RuntimeError("as asked")
        print("message", leaf, len(payload), bytes(payload[:40]).decode())

    def on_link(self, up, now_ms):
        print("link", "up" if up else "down")

    def poll(self, now_ms):
        return False

    def next_message(self):
        return self.messages.pop(0) if self.messages else None

    def sent(self, leaf):
        print("sent", leaf)


async def obey(hand, one):
    lines = asyncio.StreamReader(sys.stdin)
    while True:
        words = (await lines.readline()).decode().split(None, 4)
        if not words or words[0] == "bye":
            await one.goodbye(2000)
            return
        hand.messages.append((words[1], words[4].strip().encode(), int(words[2]), words[3] == "1"))


async def main():
    settings = config.parse(unix.read_file("device.json"))
    hand = Hand()
    back_off = link.BackOff(random=unix.random_below, **settings.back_off)
    rx = memoryview(bytearray(int(sys.argv[3])))
    mqtt = Mqtt(settings.device, rx, settings.keepalive_s, session.will(settings.device))
    times = [int(word) for word in sys.argv[4:]]
    one = session.Session(
        settings.device,
        mqtt,
        link.Link(back_off, settings.keepalive_s, unix.now_ms(), *times),
        Net(unix, settings),
        hand,
        lambda text: print("log", text),
        lambda err: print("defect", err),
    )
    running = asyncio.create_task(one.run())
    await obey(hand, one)
    running.cancel()


asyncio.run(main())
