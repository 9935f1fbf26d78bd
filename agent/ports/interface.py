"""A chip's way into the network: Wi-Fi or Ethernet, names and the clock, while everything else runs.

    "network": {"wifi": {"ssid": "…", "password": "…"}}     or {"lan": {}}; "ntp": a host, if wanted

The pins of an Ethernet chip are the board's, not the device's. Where MicroPython does not know them
(ESP32), the board's `charger_io` has a function lan() that gives the network.LAN object.
"""

import os
import time

import machine
import network  # type: ignore[import-not-found,unused-ignore]

from agent.ports import dns, sntp, stream, udp
from agent.ports.runtime import now_ms, random_below, sleep_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UP_TIMEOUT_MS = 12_000  # association and DHCP; the link gives a whole connection 20 s
_STEP_MS = 100
_NO_SERVER = ("", "0.0.0.0")


class Interface:
    """The one network interface of the device. `settings` is `network` of device.json, checked."""

    def __init__(self) -> None:
        self._nic: "Any" = None
        self._begun = False
        self._clock_is_seen_to = False

    async def attach(self, settings: "dict[str, Any] | None") -> None:
        """Until it is up; OSError after UP_TIMEOUT_MS. What went on meanwhile counts next time."""
        if settings is None:
            raise OSError("device.json names no network: add wifi or lan")
        if self._nic is None:
            self._nic = _lan() if "lan" in settings else network.WLAN(network.WLAN.IF_STA)
        if not self._nic.isconnected():
            self._begin(settings.get("wifi"))
            await self._wait("wifi" in settings)
            print("network: up, address " + self._nic.ifconfig()[0])
        if not self._clock_is_seen_to:
            self._clock_is_seen_to = await self._take_time(settings.get("ntp"))

    def _begin(self, wifi: "dict[str, Any] | None") -> None:
        """Once: a chip that is connecting refuses to be told again."""
        if self._begun:
            return
        self._nic.active(True)
        if wifi is not None:
            self._nic.connect(wifi["ssid"], wifi["password"])
        self._begun = True

    async def _wait(self, is_wifi: bool) -> None:
        began_ms = now_ms()
        while not self._nic.isconnected():
            if now_ms() - began_ms >= UP_TIMEOUT_MS:
                status = self._nic.status()
                if is_wifi:
                    self._start_over()
                raise OSError("no network, status {}".format(status))
            await sleep_ms(_STEP_MS)

    def _start_over(self) -> None:
        """Not every driver tries again by itself; Ethernet does."""
        self._begun = False
        try:
            self._nic.disconnect()
        except OSError:
            pass  # it was not connected

    # --- names --------------------------------------------------------------------------------
    async def address_of(self, host: str) -> str:
        """Four numbers; OSError if the name server does not say them."""
        if dns.is_address(host):
            return host
        server = self._nic.ifconfig()[3]
        if server in _NO_SERVER:
            raise OSError("the network names no name server")
        asked = dns.question(host, random_below(0xFFFF))
        found = await udp.ask(server, dns.PORT, asked, lambda packet: dns.answer(packet, asked))
        return str(found)

    # --- the clock ----------------------------------------------------------------------------
    async def _take_time(self, host: "str | None") -> bool:
        """Once a boot. TLS compares the dates of certificates with the chip's clock.

        False: ask again with the next connection. The line is tried all the same.
        """
        if host is None:
            if time.gmtime()[0] < time.gmtime(_since_epoch(sntp.SECONDS_MIN))[0]:
                print("clock: not set, TLS may refuse every server; name ntp in device.json")
            return True
        try:
            cookie = os.urandom(sntp.COOKIE_BYTES)
            address = await self.address_of(host)
            packet = sntp.question(cookie)
            seconds = await udp.ask(address, sntp.PORT, packet, lambda p: sntp.answer(p, cookie))
        except OSError as err:
            print("clock: {}".format(err))
            return False
        _set_clock(seconds)
        return True


_interface = Interface()
attach = _interface.attach


async def connect(host: str, port: int, tls: "Any", server_name: str) -> stream.Stream:
    """A new connection, `attach` having passed; OSError or ValueError."""
    address = await _interface.address_of(host)
    return await stream.open_stream(address, port, tls, server_name)


def _lan() -> "Any":
    try:
        from charger_io import lan  # type: ignore[import-not-found,unused-ignore]

        return lan()
    except ImportError:
        pass
    if not hasattr(network, "LAN"):
        raise OSError("this base firmware has no Ethernet")
    try:
        return network.LAN()
    except (TypeError, ValueError) as err:
        raise OSError("Ethernet needs lan() in charger_io: {}".format(err))


def _since_epoch(unix_s: int) -> int:
    """In the seconds of time.gmtime(): they begin in 2000 on chips, in 1970 elsewhere."""
    return unix_s - (946_684_800 if time.gmtime(0)[0] == 2000 else 0)


def _set_clock(unix_s: int) -> None:
    now = time.gmtime(_since_epoch(unix_s))
    weekday = now[6] + 1  # 1 is Monday on STM32; ESP32 works it out itself
    fields = (now[0], now[1], now[2], weekday, now[3], now[4], now[5], 0)
    machine.RTC().datetime(fields)  # type: ignore[attr-defined,unused-ignore]
    print("clock: set to {}-{:02}-{:02}".format(now[0], now[1], now[2]))
