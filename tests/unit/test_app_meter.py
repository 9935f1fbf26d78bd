"""The energy register: what it counts, when it is stored, what it finds again."""

import sys

sys.path.insert(0, __file__.rsplit("tests/unit", 1)[0] + "examples/charger_app/base")

from charger.meter import BURST, REFILL_MS, Budget, Meter, Register

GOLDEN = (
    b"\x01\x02\x20\x00"
    b"\xd2\x04\x00\x00\x00\x00\x00\x00" + b"\xe8\x03\x00\x00\x00\x00\x00\x00"
    b"\x07\x00\x00\x00" + b"\x00\x00\x00\x00" + b"\xef\xbe\xad\xde" + b"\x01\x00\x00\x00"
) + bytes(32)


class StoreError(Exception):
    code = "FLASH_READBACK"


class Store:
    """Keeps the last record; `broken` refuses to save, "load" refuses to load."""

    def __init__(self, record=b""):
        self.record = record
        self.broken = ""

    def load(self, buf):
        if self.broken == "load":
            raise StoreError()
        buf[: len(self.record)] = self.record
        return len(self.record)

    def save(self, *parts):
        if self.broken:
            raise StoreError()
        self.record = b"".join([bytes(part) for part in parts])


def test_pulses_are_watt_hours():
    one = Register()
    one.rebase(10)
    one.count(10)
    one.count(25)
    assert one.wh == 15


def test_a_counter_that_begins_again_loses_nothing():
    one = Register()
    one.count(100)
    one.count(3)
    assert one.wh == 103


def test_an_empty_store_is_a_new_meter():
    one = Meter(Store(), 2)
    assert [r.wh for r in one.registers] == [0, 0] and not one.fault
    one.poll(100000)
    assert one.writes == 0


def test_golden_record():
    store = Store()
    one = Meter(store, 2)
    one.registers[0].session = 6
    one.registers[0].wh = 1000
    assert one.begin(0, 0xDEADBEEF) == 7
    one.registers[0].count(234)
    one.poll(0)
    assert store.record == GOLDEN
    again = Meter(Store(GOLDEN), 2)
    register = again.registers[0]
    assert (register.wh, register.start_wh, register.session, register.open) == (
        1234,
        1000,
        7,
        True,
    )
    assert register.card == 0xDEADBEEF and again.stored_wh(0) == 1234


def test_sessions_are_numbered_over_both_connectors():
    one = Meter(Store(), 2)
    assert [one.begin(0, 1), one.begin(1, 1), one.begin(0, 1)] == [1, 2, 3]


def test_the_end_of_a_session_is_stored_at_once():
    store = Store()
    one = Meter(store, 1)
    one.begin(0, 1)
    one.poll(0)
    one.registers[0].count(40)
    assert one.registers[0].session_wh() == 40
    assert one.end(0, "Local") == 40
    one.poll(25)
    again = Meter(store, 1).registers[0]
    assert (again.wh, again.open, again.last_wh, again.reason) == (40, False, 40, "Local")
    assert again.session_wh() == 40


def test_while_energy_flows_it_is_stored_once_a_minute():
    one = Meter(Store(), 1)
    for second in range(3601):
        one.registers[0].count(second * 6)  # 22 kW
        one.poll(second * 1000)
    assert 55 <= one.writes <= 60


def test_a_charger_that_stands_writes_nothing():
    one = Meter(Store(GOLDEN), 2)
    for hour in range(1000):
        one.poll(hour * 3600000)
        one.store_soon()
        one.poll(hour * 3600000 + 1000)
    assert one.writes == 0


def test_before_an_update_the_last_watt_hour_is_stored():
    one = Meter(Store(), 1)
    one.registers[0].count(1)
    one.poll(0)
    assert one.stored_wh(0) == 0
    one.store_soon()
    one.poll(1)
    assert one.stored_wh(0) == 1


def test_playing_with_the_card_does_not_wear_the_flash():
    one = Meter(Store(), 1)
    for second in range(3600):
        one.begin(0, 1)
        one.end(0, "Local")
        one.poll(second * 1000)
    assert one.writes <= BURST + 3600000 // REFILL_MS


def test_the_budget_does_not_save_up_more_than_a_burst():
    budget = Budget()
    taken = sum([1 for _ in range(100) if budget.take(365 * 86400000)])
    assert taken == BURST
    assert not budget.take(365 * 86400000 + REFILL_MS - 1)
    assert budget.take(365 * 86400000 + REFILL_MS)


def test_a_store_that_refuses_is_a_fault_until_it_works_again():
    store = Store()
    one = Meter(store, 1)
    store.broken = "save"
    one.begin(0, 1)
    one.poll(0)
    assert one.fault == "meter store: FLASH_READBACK" and one.stored_wh(0) == 0
    store.broken = ""
    one.poll(25)
    assert not one.fault and store.record


def test_a_record_that_cannot_be_read_is_never_written_over():
    bad = (b"\x02" + GOLDEN[1:], GOLDEN[:-1], b"\x01\x03\x20\x00" + bytes(96), b"\x01")
    for record in bad + (b"\x01\x02\x10\x00" + bytes(64),):
        store = Store(record)
        one = Meter(store, 2)
        assert one.fault
        one.begin(0, 1)
        one.poll(0)
        assert store.record == record and one.fault
    store = Store()
    store.broken = "load"
    assert Meter(store, 2).fault == "meter store: FLASH_READBACK"


def test_after_a_rollback_the_record_of_a_newer_release_is_read():
    longer = b"\x01\x02\x28\x00" + GOLDEN[4:36] + b"newfield" + GOLDEN[36:68] + b"newfield"
    one = Meter(Store(longer), 2)
    assert not one.fault
    assert one.registers[0].wh == 1234 and one.registers[1].wh == 0
