"""The host's side of the broker: its address, the options that name it, a connection that says why.

A broker that is not there, does not answer or refuses us is one ToolError within a few seconds.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import click
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from host_tools.errors import EXIT_INFRASTRUCTURE, EXIT_NOT_FOUND, EXIT_USAGE, ToolError

PORT, TLS_PORT = 1883, 8883
TIMEOUT_S = 5.0  # for the connection, for its acknowledgement, for that of a message
KEEPALIVE_S = 30
RECONNECT_S_MIN, RECONNECT_S_MAX = 1, 8

Command = TypeVar("Command", bound=Callable[..., Any])
OnMessage = Callable[[str, bytes, bool], None]  # topic, payload, retained


@dataclass(frozen=True)
class Address:
    """Where a broker is; `tls` None: a plain line, never a fallback."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def options(command: Command) -> Command:
    """--broker, --ca, --cert and --tls-key, the same for every command."""
    file = click.Path(path_type=Path)
    for option in (
        click.option("--tls-key", type=file, help="PEM: the key of --cert."),
        click.option("--cert", type=file, help="PEM: our certificate for the broker."),
        click.option(
            "--ca", type=file, help="PEM: who vouches for the broker (else the system's)."
        ),
        click.option("--broker", "url", required=True, help="mqtt://HOST[:PORT] or mqtts://…"),
    ):
        command = option(command)
    return command


def address(url: str, ca: Path | None, cert: Path | None, tls_key: Path | None) -> Address:
    """The broker of the options; ToolError BAD_BROKER_URL, BAD_TLS_OPTIONS or NOT_FOUND."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _bad_url(url, str(error)) from error
    if parts.scheme not in ("mqtt", "mqtts") or not host:
        raise _bad_url(url, "it looks like mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise _bad_url(url, "only host and port; clients are known by their certificate")
    if port == 0:
        raise _bad_url(url, "port 0")
    if parts.scheme == "mqtts":
        return Address(host, port or TLS_PORT, _tls(ca, cert, tls_key))
    if ca or cert or tls_key:
        text = "--ca, --cert and --tls-key go with mqtts://"
        raise ToolError("BAD_TLS_OPTIONS", text, EXIT_USAGE)
    return Address(host, port or PORT)


def _bad_url(url: str, why: str) -> ToolError:
    return ToolError("BAD_BROKER_URL", f"broker {url}: {why}", EXIT_USAGE)


def _tls(ca: Path | None, cert: Path | None, tls_key: Path | None) -> ssl.SSLContext:
    if (cert is None) != (tls_key is None):
        raise ToolError("BAD_TLS_OPTIONS", "--cert and --tls-key go together", EXIT_USAGE)
    for path in (ca, cert, tls_key):
        if path is not None and not path.is_file():
            raise ToolError("NOT_FOUND", f"there is no file {path}", EXIT_NOT_FOUND)
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert is not None:
            context.load_cert_chain(cert, tls_key)
    except OSError as error:  # SSLError is one
        named = ", ".join(str(path) for path in (ca, cert, tls_key) if path)
        raise ToolError("BAD_TLS_OPTIONS", f"{named}: {_why(error)}", EXIT_USAGE) from error
    return context


class Connection:
    """A line to the broker that comes back by itself, with its subscriptions.

    `on_message` is called in the connection's thread. `log` gets a line when the broker goes and
    comes. `on_line` is called at each (re)connection. `failed` holds what ended the thread.

    with Connection(address, [("ota/v1/+/status", 1)], on_message) as broker:
        broker.publish(topic, payload, retain=True)
    """

    def __init__(
        self,
        where: Address,
        subscriptions: Sequence[tuple[str, int]] = (),
        on_message: OnMessage | None = None,
        client_id: str = "",
        log: Callable[[str], None] | None = None,
        on_line: Callable[[], None] | None = None,
    ) -> None:
        self._where = where
        self._subscriptions = list(subscriptions)
        self._on_message, self._on_line = on_message, on_line
        self._log = log or (lambda _line: None)
        self._changed = threading.Event()  # connected and subscribed, refused, or ended
        self._answer = ""  # why the broker does not want us
        self.failed: BaseException | None = None
        self.ended = threading.Event()
        self.client = self._new_client(client_id)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def _new_client(self, client_id: str) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        client.connect_timeout = TIMEOUT_S
        client.reconnect_delay_set(RECONNECT_S_MIN, RECONNECT_S_MAX)
        if self._where.tls is not None:
            client.tls_set_context(self._where.tls)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_disconnect = self._disconnected
        client.on_message = self._took
        return client

    # --- life ---------------------------------------------------------------------------------
    def __enter__(self) -> Self:
        """Returns when the broker took us and every subscription; ToolError otherwise."""
        try:
            self.client.connect(self._where.host, self._where.port, KEEPALIVE_S)
        except (OSError, UnicodeError) as error:  # UnicodeError: no host has such a name
            code = "BROKER_TLS" if isinstance(error, ssl.SSLError) else "BROKER_DOWN"
            raise self._trouble(code, _why(error)) from error
        self._thread.start()
        answered = self._changed.wait(TIMEOUT_S)
        if self.failed is None and answered and not self._answer:
            return self
        self.close()
        if self.failed is not None:
            raise self.failed
        code = "BROKER_REFUSED" if self._answer else "BROKER_DOWN"
        raise self._trouble(code, self._answer or "it takes the connection and says nothing")

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye and end the thread."""
        self.client.disconnect()
        self._thread.join(TIMEOUT_S)

    def _run(self) -> None:
        try:
            self.client.loop_forever()
        except BaseException as error:  # whatever it is, the one who waits has to know
            self.failed = error
        self.ended.set()
        self._changed.set()

    def _trouble(self, code: str, why: str) -> ToolError:
        return ToolError(
            code, f"no connection to the broker {self._where}: {why}", EXIT_INFRASTRUCTURE
        )

    # --- messages -----------------------------------------------------------------------------
    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """At QoS 1; returns when the broker has it, ToolError BROKER_DOWN if it does not say so."""
        sent = self.client.publish(topic, payload, 1, retain)
        try:
            sent.wait_for_publish(TIMEOUT_S)
            done = sent.is_published()
        except (RuntimeError, ValueError):  # paho: the line is lost, or its queue is full
            done = False
        if not done:
            raise self._trouble("BROKER_DOWN", "it did not acknowledge a message")

    # --- paho calls these in its thread -------------------------------------------------------
    def _connected(self, _client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if code.is_failure:
            self._refused(str(code).lower())
            return
        if self._on_line is not None:
            self._on_line()
        if self._subscriptions:
            self.client.subscribe(self._subscriptions)
        else:
            self._online()

    def _subscribed(self, _client: Any, _data: Any, _mid: int, codes: Any, _more: Any) -> None:
        if any(code.is_failure for code in codes):
            was_on_line = self._changed.is_set()
            self._refused("it refused a subscription")
            if was_on_line:
                self._hang_up()  # nothing else would make paho try again
        else:
            self._online()

    def _refused(self, answer: str) -> None:
        if self._changed.is_set():
            self._log(f"broker: {answer}, trying again")
        else:  # the first answer is the one that __enter__ waits for, whatever comes behind it
            self._answer = answer
            self._changed.set()

    def _hang_up(self) -> None:
        """Lose the line, and paho connects anew; its own disconnect() would end the thread."""
        line = self.client.socket()
        if isinstance(line, socket.socket):  # else it is gone already
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _online(self) -> None:
        if self._changed.is_set():
            self._log("broker: back")
        self._changed.set()

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if code.is_failure:
            self._log(f"broker: lost ({str(code).lower()}), trying again")

    def _took(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        if self._on_message is not None:
            self._on_message(message.topic, bytes(message.payload), message.retain)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    return str(getattr(error, "strerror", None) or error).lower()
