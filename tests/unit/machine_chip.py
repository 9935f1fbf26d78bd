"""A chip around the agent's ports, on both Pythons: machine, network, tls, sockets and time.

`with Device("esp32") as device:` puts the modules of the stock firmware in place and loads the port
anew as `device.port`; time is the device's own and costs none. Written after MicroPython's
ports/esp32 and ports/stm32 (modmachine.c, network_wlan.c, network_lan.c), extmod/modlwip.c and
extmod/modtls_mbedtls.c, with their traps. The flash is in esp32_chip.py and stm32_chip.py: give
the chip as `flash`.
"""

import asyncio
import errno
import os
import sys
import time

import agent.ports
from agent.ports import dns

_MISSING = object()
_EPOCH_S = 946_684_800  # a chip's time.gmtime(0) is 2000-01-01
# As the chips number them: 0 is a soft reset on the one and "unknown" on the other.
CAUSES = {
    "esp32": {"PWRON": 1, "HARD": 2, "WDT": 3, "DEEPSLEEP": 4, "SOFT": 5},
    "stm32": {"SOFT": 0, "PWRON": 1, "HARD": 2, "WDT": 3, "DEEPSLEEP": 4},
}
_LOADED = ("runtime", "stream", "udp", "interface", "chip")


class Reset(BaseException):
    """machine.reset(): nothing runs behind it."""


class Module:
    pass


class Device:
    """nic: the interface. sockets: what was opened. wdt: timeout_ms, fed. resets, rtc: what was set.

    ms: time since power-on. epoch_s: the chip's clock at power-on, in seconds since 1970.
    """

    def __init__(self, chip, flash=None, epoch_s=_EPOCH_S):
        self.chip = chip
        self.flash = flash
        self.ms = 0
        self.epoch_s = epoch_s
        self.cause = CAUSES[chip]["PWRON"]
        self.resets = 0
        self.wdt = None
        self.rtc = None
        self.mounted = None
        self.nic = Nic()
        self.wired = chip == "stm32"  # MicroPython knows the pins of the Ethernet chip
        self.sockets = []
        self.answers = None  # function (address, port, packet) -> the packets that come back
        self.hears = 0  # how often a new connection is looked at before it stands
        self.contexts = []
        self._kept = {}

    # --- in place -----------------------------------------------------------------------------
    def __enter__(self):
        if hasattr(self.flash, "__enter__"):
            self.flash.__enter__()
        if hasattr(asyncio, "new_event_loop") and sys.implementation.name == "micropython":
            asyncio.new_event_loop()  # what an earlier test left
        made = {"machine": self._machine(), "network": self._network(), "vfs": self._vfs()}
        made.update({"tls": self._tls(), "socket": self._socket(), "select": self._select()})
        made["uctypes"] = Module()
        made["uctypes"].addressof = getattr(self.flash, "address_of", None)
        for name in made:
            self._put(name, made[name])
        for name in _LOADED + (self.chip,):
            self._put("agent.ports." + name, _MISSING)
        runtime = self._load("runtime")
        runtime.now_ms, runtime.sleep_ms = lambda: self.ms, self._sleep_ms
        self.port = self._load(self.chip)
        self._load("interface").time = self._time()
        self._load("stream").asyncio = self._asyncio()
        return self

    def __exit__(self, *error):
        for name in self._kept:
            self._set(name, self._kept[name])
        if hasattr(self.flash, "__exit__"):
            self.flash.__exit__(*error)

    def _put(self, name, module):
        if name not in self._kept:
            self._kept[name] = sys.modules.get(name, _MISSING)
        self._set(name, module)

    def _set(self, name, module):
        """In sys.modules, and as an attribute of its package: both are looked at."""
        short = name.split(".")[-1]
        if name.startswith("agent.ports.") and hasattr(agent.ports, short):
            delattr(agent.ports, short)
        if module is _MISSING:
            sys.modules.pop(name, None)
            return
        sys.modules[name] = module
        if name.startswith("agent.ports."):
            setattr(agent.ports, short, module)

    def _load(self, name):
        return __import__("agent.ports." + name, None, None, ("x",))

    def put_module(self, name, **content):
        """A module that the base firmware or the application has, until the end."""
        made = Module()
        for key in content:
            setattr(made, key, content[key])
        self._put(name, made)

    # --- time ---------------------------------------------------------------------------------
    async def _sleep_ms(self, duration_ms):
        self.ms += max(1, duration_ms)
        await asyncio.sleep(0)

    def _time(self):
        made = Module()
        made.gmtime = lambda s=None: time.gmtime(
            self.epoch_s + self.ms // 1000 if s is None else s + _EPOCH_S
        )
        return made

    def _asyncio(self):
        device = self

        class Waiter:
            def __init__(self, sock):
                self._sock = sock

            async def readinto(self, buf):
                await device._sleep_ms(10)
                return self._sock.readinto(buf)

        made = Module()
        made.StreamReader = Waiter
        return made

    # --- machine ------------------------------------------------------------------------------
    def _machine(self):
        device = self

        class Wdt:
            def __init__(self, id=0, timeout=5000):
                self.timeout_ms, self.fed = timeout, 0
                device.wdt = self

            def feed(self):
                self.fed += 1

        class Rtc:
            def datetime(self, fields):
                device.rtc = fields

        made = Module()
        for name in CAUSES[self.chip]:
            setattr(made, name + "_RESET", CAUSES[self.chip][name])
        made.reset_cause, made.reset = lambda: self.cause, self._reset
        made.WDT, made.RTC, made.mem32 = Wdt, Rtc, self.flash
        return made

    def _reset(self):
        self.resets += 1
        raise Reset()

    # --- vfs ----------------------------------------------------------------------------------
    def _vfs(self):
        made = Module()
        made.VfsRom = lambda view: ("romfs", view)
        made.mount = self._mount
        if self.flash is not None:
            made.rom_ioctl = self.flash.rom_ioctl
        return made

    def _mount(self, what, path):
        assert what[0] == "romfs" and isinstance(what[1], memoryview)
        self.mounted = (path, bytes(what[1]))

    # --- network, tls -------------------------------------------------------------------------
    def _network(self):
        nic = self.nic

        class Wlan:
            IF_STA = 0

            def __new__(cls, interface):
                assert interface == cls.IF_STA
                return nic

        class Lan:
            def __new__(cls, **wiring):
                if not self.wired and "mdc" not in wiring:
                    raise TypeError("'mdc' argument required")
                nic.is_wifi = False
                return nic

        made = Module()
        made.WLAN, made.LAN = Wlan, Lan
        return made

    def _tls(self):
        device = self

        class Context:
            def __init__(self, protocol):
                self.protocol = protocol
                self.verify_mode = 0  # as ssl.SSLContext begins, not as tls.SSLContext does
                self.wrapped = None
                device.contexts.append(self)

            def load_verify_locations(self, ca):
                self.ca = ca

            def load_cert_chain(self, cert, key):
                self.pair = (cert, key)

            def wrap_socket(self, sock, server_hostname=None, do_handshake_on_connect=True):
                assert sock.stands, "wrapped before it is connected"
                self.wrapped = (sock, server_hostname, do_handshake_on_connect)
                return sock

        made = Module()
        made.SSLContext, made.PROTOCOL_TLS_CLIENT, made.CERT_REQUIRED = Context, 7, 2
        return made

    # --- sockets ------------------------------------------------------------------------------
    def _socket(self):
        made = Module()
        made.AF_INET, made.SOCK_STREAM, made.SOCK_DGRAM = 2, 1, 2
        made.getaddrinfo = self._getaddrinfo
        made.socket = lambda family, kind, proto=0: Socket(self, kind)
        return made

    def _getaddrinfo(self, host, port, _family=0, kind=1):
        assert dns.is_address(host), "the chip stands still while it looks up " + host
        return [(2, kind, 0, "", (host, port))]

    def _select(self):
        class Poll:
            def register(self, sock, flags):
                self.sock, self.flags = sock, flags

            def poll(self, timeout_ms):
                assert timeout_ms == 0, "the chip stands still while it waits"
                return [(self.sock, self.flags)] if self.sock.ready() else []

        made = Module()
        made.POLLOUT, made.poll = 4, Poll
        return made


class Nic:
    """WLAN or LAN: up when it was asked `looks` times for it, None never. `log`: what was done."""

    def __init__(self):
        self.is_wifi = True
        self.looks = 3
        self.log = []
        self.server = "10.0.0.1"
        self.connecting = False
        self.is_on = False

    def active(self, on):
        self.is_on = on
        self.log.append("active")

    def connect(self, ssid, password):
        assert self.is_on
        if self.connecting:
            raise OSError("Wifi Internal State Error")
        self.connecting = True
        self.log.append((ssid, password))

    def disconnect(self):
        self.connecting = False
        self.log.append("disconnect")
        raise OSError("Wifi Not Connected")

    def isconnected(self):
        if not self.is_on or (self.is_wifi and not self.connecting) or self.looks is None:
            return False
        self.looks -= 1
        return self.looks < 0

    def status(self):
        return 201

    def ifconfig(self):
        return ("10.0.0.9", "255.255.255.0", "10.0.0.1", self.server)


class Socket:
    """TCP refuses to write while it connects, as lwIP does. The far end hangs up behind a write."""

    def __init__(self, device, kind):
        self.device = device
        self.is_tcp = kind == 1
        self.blocking = True
        self.stands = self.closed = False
        self.options = []
        self.sent = []
        self.waiting = []
        self.looks = device.hears
        self.address = None
        device.sockets.append(self)

    def setblocking(self, flag):
        self.blocking = flag

    def setsockopt(self, level, option, value):
        self.options.append((level, option, value))

    def connect(self, address):
        assert not self.blocking, "the chip stands still while it connects"
        self.address = address
        if self.is_tcp:
            raise OSError(errno.EINPROGRESS, "EINPROGRESS")

    def ready(self):
        self.looks -= 1
        self.stands = self.stands or self.looks < 0
        return self.stands

    def send(self, packet):
        self.sent.append(packet)
        answers = self.device.answers
        self.waiting += answers(self.address[0], self.address[1], packet) if answers else []
        return len(packet)

    def write(self, data):
        if not self.stands:
            raise OSError(errno.EINPROGRESS, "EINPROGRESS")
        self.sent.append(bytes(data))
        return len(data)

    def readinto(self, buf):
        if self.is_tcp:
            return 0 if self.sent else None
        if not self.waiting:
            return None
        packet = self.waiting.pop(0)
        if packet is None:
            raise OSError(errno.EAGAIN, "EAGAIN")  # another way to say that there is nothing
        buf[: len(packet)] = packet
        return len(packet)

    def close(self):
        self.closed = True


class Folder:
    """A file system with the given files, for a port's `_FILES`."""

    def __init__(self, **files):
        self._files = files
        tmp = os.getenv("TMPDIR") or "/var/tmp"
        self.path = "{}/chargeflash-files-{}".format(tmp, os.urandom(8).hex())

    def __enter__(self):
        os.mkdir(self.path)
        for name in self._files:
            with open(self.path + "/" + name, "wb") as file:
                file.write(self._files[name])
        return self.path + "/"

    def __exit__(self, *_error):
        for name in self._files:
            os.remove(self.path + "/" + name)
        os.rmdir(self.path)
