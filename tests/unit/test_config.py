"""device.json: what is missing has a default or is refused by name; nothing makes a line plain."""

import json

from agent import config
from tests.unit.expect import raises

TLS = {"ca": "ca.der", "cert": "c.der", "key": "k.der", "server_name": "broker"}


def text(**changes):
    fields = {"device": "CP-0001", "host": "127.0.0.1", "port": 1883, "tls": None}
    fields.update(changes)
    return json.dumps(fields).encode()


def test_defaults():
    found = config.parse(text())
    assert (found.device, found.host, found.port, found.tls) == (
        "CP-0001",
        "127.0.0.1",
        1883,
        None,
    )
    assert (found.keepalive_s, found.groups) == (60, [])
    assert found.back_off == {
        "retry_back_off_wait_minimum_s": 3,
        "retry_back_off_random_range_s": 10,
        "retry_back_off_repeat_times": 5,
    }


def test_what_is_given_counts():
    waits = {"retry_back_off_wait_minimum_s": 0, "retry_back_off_random_range_s": 1}
    found = config.parse(text(tls=TLS, keepalive_s=30, groups=["home"], back_off=waits))
    assert (found.tls, found.keepalive_s, found.groups) == (TLS, 30, ["home"])
    assert found.back_off["retry_back_off_wait_minimum_s"] == 0
    assert found.back_off["retry_back_off_repeat_times"] == 5


def test_a_line_is_plain_only_by_saying_so():
    no_word = json.loads(text())
    del no_word["tls"]
    error = raises(config.ConfigError, "BAD_CONFIG", config.parse, json.dumps(no_word).encode())
    assert "tls" in error.detail
    for tls in ({}, False, "", "no", dict(TLS, key=""), dict(TLS, verify=False)):
        raises(config.ConfigError, "BAD_CONFIG", config.parse, text(tls=tls))


def test_faults_are_named():
    for field, bad in (
        ("device", "a/b"),
        ("device", 7),
        ("host", ""),
        ("host", "x" * 129),
        ("port", 0),
        ("port", 65536),
        ("port", "1883"),
        ("port", True),
        ("keepalive_s", 1),
        ("groups", ["a", "#"]),
        ("groups", "all"),
        ("back_off", []),
        ("back_off", {"retry": 1}),
        ("retry_back_off_repeat_times", None),
        ("password", "secret"),
    ):
        changes = {field: bad}
        if field.startswith("retry"):
            changes = {"back_off": {field: 17}}
        error = raises(config.ConfigError, "BAD_CONFIG", config.parse, text(**changes))
        assert field in error.detail or field == "back_off"
        assert "secret" not in str(error)


def test_what_is_no_json_object():
    for bad in (b"", b"{", b"[]", b"\xff", b"3"):
        raises(config.ConfigError, "BAD_CONFIG", config.parse, bad)


WIFI = {"ssid": "depot", "password": "12345678"}


def test_the_network_of_a_chip():
    assert config.parse(text()).network is None
    for network in (
        None,
        {"lan": {}},
        {"lan": {}, "ntp": "ntp.example"},
        {"wifi": WIFI},
        {"wifi": {"ssid": "x" * 32, "password": "y" * 64}},
        {"wifi": {"ssid": "open", "password": None}, "ntp": "192.0.2.7"},
    ):
        assert config.parse(text(network=network)).network == network


def test_faults_of_the_network_are_named_and_tell_no_password():
    for name, network in (
        ("network", {}),
        ("network", []),
        ("network", {"ntp": "a"}),
        ("network", {"wifi": WIFI, "lan": {}}),
        ("modem", {"modem": {}}),
        ("lan", {"lan": None}),
        ("mdc", {"lan": {"mdc": 23}}),
        ("ntp", {"lan": {}, "ntp": ""}),
        ("ntp", {"lan": {}, "ntp": None}),
        ("wifi", {"wifi": None}),
        ("ssid", {"wifi": {"password": "12345678"}}),
        ("ssid", {"wifi": dict(WIFI, ssid="")}),
        ("ssid", {"wifi": dict(WIFI, ssid="x" * 33)}),
        ("ssid", {"wifi": dict(WIFI, ssid="\u00e9" * 17)}),
        ("password", {"wifi": {"ssid": "depot"}}),
        ("password", {"wifi": dict(WIFI, password="secret7")}),
        ("password", {"wifi": dict(WIFI, password="secret" * 11)}),
        ("password", {"wifi": dict(WIFI, password=12345678)}),
        ("bssid", {"wifi": dict(WIFI, bssid="secret")}),
    ):
        error = raises(config.ConfigError, "BAD_CONFIG", config.parse, text(network=network))
        assert name in error.detail and "secret" not in str(error), (network, error.detail)
