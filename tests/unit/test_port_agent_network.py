"""The chips' way to the broker: interface, names, clock, TCP and TLS. Nothing stands still for it."""

import asyncio

from agent.ports import dns
from tests.unit import test_port_agent_packets as packets
from tests.unit.expect import raises
from tests.unit.machine_chip import Device

WIFI = {"wifi": {"ssid": "depot", "password": "not for the log"}}
LAN = {"lan": {}}
YEAR_2027_S = 1_798_761_600
ANSWER_S = YEAR_2027_S + 2_208_988_800  # as NTP counts


def run(coroutine):
    return asyncio.run(coroutine)


def names(address, port, packet):
    """A name server at 10.0.0.1 and a time server at 192.0.2.7."""
    if (address, port) == ("10.0.0.1", 53):
        return [packets.reply(packets.ADDRESS_RECORD, ident=packet[:2], asked=packet)]
    if (address, port) == ("192.0.2.7", 123):
        return [packets.time_reply(ANSWER_S, packet[40:48])]
    return []


# --- up -----------------------------------------------------------------------------------------------
def test_wifi_comes_up_once():
    for chip in ("esp32", "stm32"):
        with Device(chip) as device:
            run(device.port.attach(WIFI))
            run(device.port.attach(WIFI))
            assert device.nic.log == ["active", ("depot", "not for the log")]
            assert device.nic.is_wifi


def test_ethernet_needs_no_settings():
    with Device("stm32") as device:
        run(device.port.attach(LAN))
        assert device.nic.log == ["active"] and not device.nic.is_wifi


def test_the_wiring_of_ethernet_is_the_boards():
    with Device("esp32") as device:
        error = raises(OSError, None, run, device.port.attach(LAN))
        assert "lan() in charger_io" in str(error)
    with Device("esp32") as device:
        import network

        device.put_module("charger_io", lan=lambda: network.LAN(mdc=23))
        run(device.port.attach(LAN))
        assert device.nic.log == ["active"] and not device.nic.is_wifi
    with Device("stm32") as device:
        import network

        del network.LAN
        error = raises(OSError, None, run, device.port.attach(LAN))
        assert "no Ethernet" in str(error)


def test_without_settings_there_is_no_network():
    with Device("esp32") as device:
        error = raises(OSError, None, run, device.port.attach(None))
        assert "device.json" in str(error) and device.nic.log == []


def test_a_network_that_does_not_come_up_is_an_error_and_begun_anew():
    with Device("esp32") as device:
        device.nic.looks = None
        error = raises(OSError, None, run, device.port.attach(WIFI))
        assert 12_000 <= device.ms <= 12_200
        assert "201" in str(error) and "log" not in str(error)
        assert device.nic.log[-1] == "disconnect"
        device.nic.looks = 1
        run(device.port.attach(WIFI))
        assert device.nic.log[3:] == ["active", ("depot", "not for the log")]


def test_ethernet_is_never_begun_anew():
    with Device("stm32") as device:
        device.nic.looks = None
        raises(OSError, None, run, device.port.attach(LAN))
        raises(OSError, None, run, device.port.attach(LAN))
        assert device.nic.log == ["active"]


def test_a_try_that_was_given_up_goes_on_behind_it():
    """The link cancels a connection that takes too long; the radio is not told twice."""

    async def given_up(device):
        task = asyncio.create_task(device.port.attach(WIFI))
        while not device.nic.log:
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        await device.port.attach(WIFI)

    with Device("esp32") as device:
        device.nic.looks = 20
        run(given_up(device))
        assert device.nic.log == ["active", ("depot", "not for the log")]


def test_others_run_while_the_network_comes_up():
    async def counted(device):
        turns = [0]

        async def other():
            while True:
                turns[0] += 1
                await device.port.sleep_ms(1)

        task = asyncio.create_task(other())
        device.nic.looks = 30
        await device.port.attach(WIFI)
        task.cancel()
        return turns[0]

    with Device("esp32") as device:
        assert run(counted(device)) >= 29


# --- names ----------------------------------------------------------------------------------------------
async def connected(device, host="broker.example", tls=None, settings=WIFI):
    await device.port.attach(settings)
    return await device.port.connect(host, 8883, tls, "broker" if tls else "")


def test_a_name_is_asked_for_without_standing_still():
    with Device("esp32") as device:
        device.answers = names
        run(connected(device))
        asked, line = device.sockets
        assert (asked.address, asked.is_tcp, asked.closed) == (("10.0.0.1", 53), False, True)
        assert (line.address, line.is_tcp, line.closed) == (("192.0.2.7", 8883), True, False)


def test_an_address_is_asked_of_nobody():
    with Device("esp32") as device:
        run(connected(device, "192.0.2.8"))
        assert [one.address for one in device.sockets] == [("192.0.2.8", 8883)]


def test_a_silent_name_server_is_asked_twice():
    with Device("esp32") as device:
        raises(OSError, None, run, connected(device))
        assert 3_000 <= device.ms < 4_000
        assert len(device.sockets) == 1 and device.sockets[0].closed
        sent = device.sockets[0].sent
        assert len(sent) == 2 and sent[0] == sent[1]


def test_junk_before_the_answer_and_an_answer_to_the_second_question():
    rounds = []

    def late(address, port, packet):
        rounds.append(1)
        if len(rounds) == 1:
            return [b"junk", None]
        return [packet] + names(address, port, packet)

    with Device("stm32") as device:
        device.answers = late
        run(connected(device))
        assert device.sockets[1].address == ("192.0.2.7", 8883)


def test_a_name_that_is_not_there_is_an_error_at_once():
    with Device("esp32") as device:
        device.answers = lambda _a, _p, packet: [packets.reply(code=3, ident=packet[:2])]
        error = raises(OSError, None, run, connected(device))
        assert "code 3" in str(error) and device.ms < 1_000
        assert device.sockets[0].closed


def test_a_network_without_a_name_server():
    for server in ("", "0.0.0.0"):
        with Device("esp32") as device:
            device.nic.server = server
            error = raises(OSError, None, run, connected(device))
            assert "name server" in str(error) and not device.sockets


def test_two_questions_differ():
    """Who cannot see them must guess 16 bits, and the port."""
    with Device("esp32") as device:
        device.answers = names
        for _ in range(8):
            run(connected(device))
        asked = [one.sent[0] for one in device.sockets if not one.is_tcp]
        assert len({packet[:2] for packet in asked}) > 1
        assert asked[0][2:] == dns.question("broker.example", 0)[2:]


# --- the clock --------------------------------------------------------------------------------------------
def with_ntp(host="ntp.example"):
    return dict(WIFI, ntp=host)


def test_the_clock_is_set_once_a_boot():
    for chip in ("esp32", "stm32"):
        with Device(chip) as device:
            device.answers = names
            run(device.port.attach(with_ntp()))
            assert device.rtc == (2027, 1, 1, 5, 0, 0, 0, 0)  # a Friday
            asked = len(device.sockets)
            run(device.port.attach(with_ntp()))
            assert len(device.sockets) == asked == 2
            assert all(one.closed for one in device.sockets)


def test_a_time_server_that_is_down_keeps_nobody_off_the_line():
    with Device("esp32") as device:
        run(device.port.attach(with_ntp("192.0.2.9")))
        assert device.rtc is None
        device.answers = names
        run(device.port.attach(with_ntp("192.0.2.7")))
        assert device.rtc is not None


def test_without_a_time_server_the_clock_stays_as_it_is():
    with Device("esp32") as device:
        run(device.port.attach(WIFI))
        assert device.rtc is None and not device.sockets


def test_a_time_before_the_agents_is_a_lie():
    with Device("esp32") as device:
        device.answers = lambda _a, _p, packet: [packets.time_reply(3_900_000_000, packet[40:48])]
        run(device.port.attach(with_ntp("192.0.2.7")))
        assert device.rtc is None


# --- the line ---------------------------------------------------------------------------------------------
def test_a_line_is_used_when_it_stands_and_not_before():
    async def said(device):
        stream = await connected(device, "192.0.2.8")
        assert await stream.write(memoryview(b"hello")) == 5
        assert await stream.readinto(memoryview(bytearray(8))) == 0
        stream.close()

    with Device("esp32") as device:
        device.hears = 4
        run(said(device))
        line = device.sockets[0]
        assert (line.sent, line.closed) == ([b"hello"], True)
        assert not line.blocking and line.options == [(6, 1, 1)]


def test_tls_names_the_server_and_shakes_hands_later():
    with Device("esp32") as device:
        context = device.port.tls_context(b"ca", b"cert", b"key")
        device.hears = 2
        run(connected(device, "192.0.2.8", context))
        sock, name, at_once = context.wrapped
        assert (sock.is_tcp, name, at_once) == (True, "broker", False)


def test_a_connection_that_fails_or_is_given_up_leaves_no_socket_open():
    async def given_up(device):
        task = asyncio.create_task(connected(device, "192.0.2.8"))
        while not device.sockets:
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass

    with Device("esp32") as device:
        device.hears = 1_000_000
        run(given_up(device))
        assert device.sockets[0].closed

    class Broken:
        def wrap_socket(self, sock, **_words):
            raise ValueError("out of memory")

    with Device("esp32") as device:
        raises(ValueError, None, run, connected(device, "192.0.2.8", Broken()))
        assert device.sockets[0].closed
