"""Who the device is and where its broker is: the file device.json, checked.

    {"device":"CP-0001","host":"broker.example","port":8883,"keepalive_s":60,
     "tls":{"ca":"ca.der","cert":"client.der","key":"key.der","server_name":"broker.example"},
     "back_off":{"retry_back_off_wait_minimum_s":3,"retry_back_off_random_range_s":10,
                 "retry_back_off_repeat_times":5},
     "network":{"wifi":{"ssid":"depot","password":"…"},"ntp":"ntp.example"}}

`network` is for chips: wifi, or "lan":{}; a password of null is an open Wi-Fi; `ntp` sets the clock,
which TLS needs where no battery keeps it. On the virtual board it is checked and left alone.
`tls` has to be there: null says in so many words that the line is plain. `keepalive_s`, `groups`
(names of rollout groups) and `back_off` have defaults. TLS files are DER.
"""

import json

from agent import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEEPALIVE_S = 60
GROUPS_MAX = 4
_U16 = 0xFFFF
_DAY_S = 86_400
_TOP = ("device", "host", "port", "tls", "keepalive_s", "groups", "back_off", "network")
_TLS = ("ca", "cert", "key", "server_name")
_TEXT_CHARS_MAX = 128
_WIFI = ("ssid", "password")
_SSID_BYTES_MAX = 32
_PASSWORD_BYTES = range(8, 65)

# OCPP name -> (default, most)
_BACK_OFF = {
    "retry_back_off_wait_minimum_s": (3, _DAY_S),
    "retry_back_off_random_range_s": (10, _DAY_S),
    "retry_back_off_repeat_times": (5, 16),
}


class ConfigError(Exception):
    """`.code` BAD_CONFIG, `.detail` names the field."""

    def __init__(self, detail: str) -> None:
        super().__init__("BAD_CONFIG: " + detail)
        self.code = "BAD_CONFIG"
        self.detail = detail


class Config:
    """A checked device.json: device, host, port, tls (None or a dict of four texts), keepalive_s,
    groups, back_off (three numbers under OCPP's names), network (None or a dict)."""

    def __init__(self, fields: "dict[str, Any]") -> None:
        self.device: str = fields["device"]
        self.host: str = fields["host"]
        self.port: int = fields["port"]
        self.tls: "dict[str, str] | None" = fields["tls"]
        self.keepalive_s: int = fields["keepalive_s"]
        self.groups: "list[str]" = fields["groups"]
        self.back_off: "dict[str, int]" = fields["back_off"]
        self.network: "dict[str, Any] | None" = fields["network"]


def parse(text: "bytes | bytearray") -> Config:
    """The settings in `text`; ConfigError for whatever is missing, unknown or out of range."""
    try:
        fields = json.loads(bytes(text).decode())
    except (ValueError, UnicodeError, RuntimeError):
        raise ConfigError("not JSON")
    _known(fields, _TOP, "device.json")
    if not protocol.is_name(fields.get("device")):
        raise ConfigError("device")
    _text(fields, "host")
    _number(fields, "port", None, 1, _U16)
    _number(fields, "keepalive_s", KEEPALIVE_S, 2, _U16)
    _check_groups(fields)
    _check_back_off(fields)
    _check_tls(fields)
    _check_network(fields.setdefault("network", None))
    return Config(fields)


def _known(fields: "Any", names: "tuple[str, ...]", where: str) -> None:
    if not isinstance(fields, dict):
        raise ConfigError(where + " is no object")
    for name in fields:
        if name not in names:
            raise ConfigError("unknown field " + str(name))


def _text(fields: "dict[str, Any]", name: str) -> None:
    value = fields.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_CHARS_MAX or "\0" in value:
        raise ConfigError(name)


def _number(
    fields: "dict[str, Any]", name: str, default: "int | None", least: int, most: int
) -> None:
    value = fields.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise ConfigError(name)
    fields[name] = value


def _check_groups(fields: "dict[str, Any]") -> None:
    groups = fields.setdefault("groups", [])
    if not isinstance(groups, list) or len(groups) > GROUPS_MAX:
        raise ConfigError("groups")
    if not all(protocol.is_name(g) for g in groups):
        raise ConfigError("groups")


def _check_back_off(fields: "dict[str, Any]") -> None:
    back_off = fields.setdefault("back_off", {})
    _known(back_off, tuple(_BACK_OFF), "back_off")
    for name in _BACK_OFF:
        default, most = _BACK_OFF[name]
        _number(back_off, name, default, 0, most)


def _check_tls(fields: "dict[str, Any]") -> None:
    if "tls" not in fields:
        raise ConfigError("tls is missing: null for a plain line")
    if fields["tls"] is None:
        return
    _known(fields["tls"], _TLS, "tls")
    for name in _TLS:
        _text(fields["tls"], name)


def _check_network(settings: "Any") -> None:
    if settings is None:
        return
    _known(settings, ("wifi", "lan", "ntp"), "network")
    if ("wifi" in settings) == ("lan" in settings):
        raise ConfigError("network: wifi or lan")
    _known(settings.get("lan", {}), (), "lan")
    if "ntp" in settings:
        _text(settings, "ntp")
    if "wifi" in settings:
        _check_wifi(settings["wifi"])


def _check_wifi(wifi: "Any") -> None:
    """The password is never part of an error."""
    _known(wifi, _WIFI, "wifi")
    _text(wifi, "ssid")
    if len(wifi["ssid"].encode()) > _SSID_BYTES_MAX:
        raise ConfigError("ssid")
    password = wifi.get("password", "")
    if password is None:
        return
    if not isinstance(password, str) or len(password.encode()) not in _PASSWORD_BYTES:
        raise ConfigError("password: 8 to 64 bytes, or null")
