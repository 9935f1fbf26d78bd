"""The agent's ports for ESP32 and STM32: reset, watchdog, clock, files, hardware of the charger."""

from agent.ports.runtime import FILE_BYTES_MAX, Clock
from bootloader_verify import trailer
from tests.unit.expect import raises
from tests.unit.machine_chip import CAUSES, Device, Folder, Reset

NAMES = ("open_flash", "read_file", "now_ms", "sleep_ms", "random_below", "reset_cause", "reset")
NAMES += (
    "Watchdog",
    "mount",
    "charger_io",
    "show_error",
    "heap",
    "tls_context",
    "attach",
    "connect",
)
CHIPS = sorted(CAUSES)


def test_a_port_has_all_the_names():
    for chip in CHIPS:
        with Device(chip) as device:
            assert [name for name in NAMES if not hasattr(device.port, name)] == []


def test_the_ports_of_all_chips_are_found_by_name():
    from agent import main

    for chip in CHIPS:
        with Device(chip) as device:
            assert main._port(chip) is device.port
    raises(ValueError, None, main._port, "pic16")


def test_reset_causes_of_each_chip():
    for chip in CHIPS:
        with Device(chip) as device:
            seen = {}
            for name in CAUSES[chip]:
                device.cause = CAUSES[chip][name]
                seen[name] = device.port.reset_cause()
            assert seen == {
                "PWRON": trailer.POWER,
                "HARD": trailer.HARD,
                "WDT": trailer.WATCHDOG,
                "SOFT": trailer.SOFT,
                "DEEPSLEEP": trailer.UNKNOWN,
            }


def test_zero_is_unknown_on_one_chip_and_a_soft_reset_on_the_other():
    for chip, cause in (("esp32", trailer.UNKNOWN), ("stm32", trailer.SOFT)):
        with Device(chip) as device:
            device.cause = 0
            assert device.port.reset_cause() == cause
            device.cause = 77
            assert device.port.reset_cause() == trailer.UNKNOWN


def test_reset_and_watchdog_are_those_of_the_chip():
    for chip in CHIPS:
        with Device(chip) as device:
            watchdog = device.port.Watchdog(10_000)
            watchdog.feed()
            watchdog.feed()
            assert (device.wdt.timeout_ms, device.wdt.fed) == (10_000, 2)
            raises(Reset, None, device.port.reset)
            assert device.resets == 1


def test_a_romfs_is_mounted_in_place():
    with Device("esp32") as device:
        device.port.mount(memoryview(b"rom"), "/app")
        assert device.mounted == ("/app", b"rom")


def test_the_clock_grows_over_the_wrap_of_the_ticks():
    """ticks_ms has 30 bits on the chips."""
    period = 1 << 30
    ticks = [period - 1500]

    def diff(end, start):
        return (end - start + period // 2) % period - period // 2

    clock = Clock(lambda: ticks[0] % period, diff)
    seen = []
    for step_ms in (1000, 499, 1, 0, 5000, period // 2 - 1, period // 2 - 1):
        ticks[0] += step_ms
        seen.append(clock.now_ms())
    assert seen == [1000, 1499, 1500, 1500, 6500, 536877411, 1073748322]


def test_files_come_from_the_chips_file_system_and_are_bounded():
    for chip, root in (("esp32", "/"), ("stm32", "/flash/")):
        with Device(chip) as device:
            assert root == device.port._FILES
            content = bytes(FILE_BYTES_MAX)
            with Folder(most=content, empty=b"", more=content + b"x") as path:
                device.port._FILES = path
                assert device.port.read_file("most") == content
                assert device.port.read_file("empty") == b""
                assert device.port.read_file(path + "most") == content
                error = raises(OSError, None, device.port.read_file, "more")
                assert "4096" in str(error)
                raises(OSError, None, device.port.read_file, "none")


def test_the_hardware_of_the_charger_is_a_module_of_the_boards_maker():
    for chip in CHIPS:
        with Device(chip) as device:
            error = raises(ImportError, None, device.port.charger_io)
            assert "charger_io" in str(error) and "freeze" in str(error)
            device.put_module("charger_io", CONNECTORS=1)
            assert device.port.charger_io().CONNECTORS == 1


def test_tls_checks_the_server_whatever_the_firmware_begins_with():
    for chip in CHIPS:
        with Device(chip) as device:
            context = device.port.tls_context(b"ca", b"cert", b"key")
            assert (context.protocol, context.verify_mode) == (7, 2)
            assert (context.ca, context.pair) == (b"ca", (b"cert", b"key"))
