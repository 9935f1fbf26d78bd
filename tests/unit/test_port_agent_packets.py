"""What the agent asks name and time servers, and which answers it believes."""

from agent.ports import dns, sntp
from tests.unit.expect import raises

HOST = "Broker.Example"
ASKED = dns.question(HOST, 0x1234)
ADDRESS_RECORD = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x07"
ALIAS_RECORD = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x06\x03www\xc0\x13"


def reply(*records, code=0, ident=b"\x12\x34", asked=ASKED, flags=0x81):
    head = ident + bytes([flags, 0x80 | code, 0, 1, 0, len(records), 0, 0, 0, 0])
    return head + asked[12:] + b"".join(records)


# --- names ------------------------------------------------------------------------------------------
def test_the_question_is_rfc_1035s():
    names = b"\x06broker\x07example\x00"
    assert b"\x12\x34\x01\x00\x00\x01" + bytes(6) + names + b"\x00\x01\x00\x01" == ASKED


def test_four_numbers_are_no_name():
    assert dns.is_address("192.0.2.7") and dns.is_address("0.0.0.0")
    for host in ("broker", "1.2.3", "1.2.3.256", "1.2.3.x", "1.2.3.4.5", "1.2.3.", "::1", ""):
        assert not dns.is_address(host)


def test_a_name_that_cannot_be_asked_for():
    for host in ("", ".", "a..b", "x" * 64 + ".example", ".".join(["x" * 49] * 6)):
        raises(OSError, None, dns.question, host, 1)
    longest = ".".join(["x" * 49] * 5)
    assert len(dns.question(longest, 1)) == 12 + 251 + 4


def test_the_first_address_counts_also_behind_an_alias():
    assert dns.answer(reply(ADDRESS_RECORD), ASKED) == "192.0.2.7"
    assert dns.answer(reply(ALIAS_RECORD, ADDRESS_RECORD), ASKED) == "192.0.2.7"
    spelled = b"\x03www\x07example\x00" + ADDRESS_RECORD[2:]
    assert dns.answer(bytearray(reply(spelled)), ASKED) == "192.0.2.7"
    assert dns.answer(reply(ADDRESS_RECORD, asked=dns.question("BROKER.example", 1)), ASKED)


def test_what_answers_something_else_is_passed_over():
    other = dns.question("broker.examplf", 0x1234)
    for packet in (
        b"",
        ASKED,  # our own question
        reply(ADDRESS_RECORD, ident=b"\x12\x35"),
        reply(ADDRESS_RECORD, asked=other),
        reply(ADDRESS_RECORD)[: len(ASKED) - 1],
        b"\x12\x34\x81\x80\x00\x00" + reply(ADDRESS_RECORD)[6:],
    ):
        assert dns.answer(packet, ASKED) is None


def test_no_address_is_an_error_at_once():
    error = raises(OSError, None, dns.answer, reply(code=3), ASKED)
    assert "code 3" in str(error)
    raises(OSError, None, dns.answer, reply(), ASKED)
    raises(OSError, None, dns.answer, reply(ALIAS_RECORD), ASKED)
    ipv6 = ADDRESS_RECORD[:3] + b"\x1c" + ADDRESS_RECORD[4:]
    raises(OSError, None, dns.answer, reply(ipv6), ASKED)


def test_a_cut_or_bent_packet_gives_no_address():
    whole = reply(ALIAS_RECORD, ADDRESS_RECORD)
    for size in range(len(ASKED), len(whole)):
        raises(OSError, None, dns.answer, whole[:size], ASKED)
    for at in range(len(ASKED), len(whole)):
        for value in (0, 1, 0x3F, 0x7F, 0xBF, 0xC0, 0xFF):
            bent = bytearray(whole)
            bent[at] = value
            try:
                found = dns.answer(bent, ASKED)
            except OSError:
                continue
            assert dns.is_address(found)
    raises(OSError, None, dns.answer, reply()[:6] + b"\xff\xff" + reply()[8:], ASKED)


# --- the time ---------------------------------------------------------------------------------------
COOKIE = b"12345678"


def time_reply(seconds=3_976_214_400 + 1, cookie=COOKIE, first=0x24, stratum=2):
    stamp = bytes([seconds >> 24, seconds >> 16 & 255, seconds >> 8 & 255, seconds & 255])
    return bytes([first, stratum]) + bytes(22) + cookie + bytes(8) + stamp + bytes(4)


def test_the_question_for_the_time():
    assert sntp.question(COOKIE) == b"\x23" + bytes(39) + COOKIE


def test_a_time_server_is_believed_from_the_year_of_the_agent_on():
    assert sntp.answer(time_reply(), COOKIE) == 1_767_225_601
    assert sntp.answer(bytearray(time_reply(3_976_214_400)), COOKIE) == sntp.SECONDS_MIN
    assert sntp.answer(time_reply(3_976_214_399), COOKIE) is None
    assert sntp.answer(time_reply(0xFFFFFFFF), COOKIE) == 2_085_978_495
    assert sntp.answer(time_reply(0), COOKIE) == 2_085_978_496  # 2036-02-07, the next era


def test_what_is_no_time():
    for packet in (
        b"",
        time_reply()[:47],
        time_reply(cookie=b"12345679"),
        time_reply(first=0x23),  # a question
        time_reply(first=0x25),  # broadcast
        time_reply(first=0xE4),  # its clock is not set
        time_reply(stratum=0),  # go away
        time_reply(stratum=16),
    ):
        assert sntp.answer(packet, COOKIE) is None
