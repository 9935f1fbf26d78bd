"""The MQTT broker of a bench: mosquitto where it is installed, else one inside this process.

with Broker(folder) as broker:
    print(broker.kind, broker.version, broker.port)
    broker.restart()
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from hil.errors import BenchError
from hil.guard import Guarded
from host_tools.errors import EXIT_NOT_FOUND

HOST = "127.0.0.1"
_READY_TIMEOUT_S = 10.0
_LARGEST_PACKET_BYTES = 65_536  # four times the largest block
_QUEUED_MESSAGES = 1_000  # mosquitto drops silently what is beyond: our devices pull


@dataclass(frozen=True)
class Tls:
    """PEM files. With `ca`, clients need a certificate of it, and its name is their user name."""

    cert: Path
    key: Path
    ca: Path | None = None


class _Server(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


class Broker:
    """One broker on one port of this machine; its folder keeps retained messages and sessions.

    `kind` tells which one it is: "mosquitto" where it is installed and `embedded` is False, else
    "amqtt". `tls`, `acl` (the text of a mosquitto ACL file) and `extra` (more lines of its
    configuration) need mosquitto. BenchError: NO_BROKER, BROKER_FAILED, PORT_BUSY.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        embedded: bool = False,
        tls: Tls | None = None,
        acl: str | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        self.folder = folder.resolve()
        self.host = HOST
        self.port = _free_port(port)
        self.kind = "mosquitto" if find_mosquitto() and not embedded else "amqtt"
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.kind == "mosquitto":
            lines = [*_tls_lines(tls), *_acl_lines(self.folder, acl), *extra]
            mosquitto = _Mosquitto(self.folder, self.port, lines)
            self.version = mosquitto.version
            self._server: _Server = mosquitto
        else:
            if tls or acl or extra:
                raise BenchError("NO_BROKER", "TLS and ACLs need mosquitto: apt install mosquitto")
            self._server, self.version = _embedded(self.folder, self.port)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Returns when it takes connections."""
        self._server.start()
        return self

    def stop(self) -> None:
        """In order: it stores what it retains. The port stays ours by agreement only."""
        self._server.stop()

    def restart(self, pause_s: float = 0.0) -> None:
        """Away for `pause_s`, back on the same port, with what was retained."""
        self.stop()
        time.sleep(pause_s)
        self.start()

    def close(self) -> None:
        self._server.close()


class _Mosquitto:
    def __init__(self, folder: Path, port: int, more: Sequence[str]) -> None:
        program = find_mosquitto()
        if not program:
            raise BenchError(
                "NO_BROKER", "mosquitto is not installed: apt install mosquitto", EXIT_NOT_FOUND
            )
        self._program, self._folder, self._port = program, folder, port
        self.version = _mosquitto_version(program)
        self._process: Guarded | None = None
        self._log = folder / "broker.log"
        config = "\n".join([*self._lines(), *more]) + "\n"
        (folder / "mosquitto.conf").write_text(config)

    def start(self) -> None:
        if self._process is not None:
            return
        command = [self._program, "-c", str(self._folder / "mosquitto.conf")]
        with self._log.open("ab") as log:
            said_before = log.tell()
            self._process = Guarded(command, log)
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._runs(said_before):
            if self._process.exit_code() is not None or time.monotonic() > deadline:
                self.stop()
                raise BenchError("BROKER_FAILED", f"mosquitto does not start: {self._complaint()}")
            time.sleep(0.01)

    def _runs(self, said_before: int) -> bool:
        """An open port is not enough: it opens before the certificates are read."""
        with self._log.open("rb") as log:
            log.seek(said_before)
            return b" running" in log.read() and _answers(self._port)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()

    def close(self) -> None:
        self.stop()

    def _complaint(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if "Error:" in line] or lines[-1:]
        return errors[-1].partition("Error:")[2].strip() if errors else "it says nothing"

    def _lines(self) -> list[str]:
        return [
            # Started by root it would become a user who cannot write here.
            *(["user root"] if os.geteuid() == 0 else []),
            f"listener {self._port} {HOST}",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {self._folder}/",
            "autosave_interval 1",
            f"max_packet_size {_LARGEST_PACKET_BYTES}",
            f"max_queued_messages {_QUEUED_MESSAGES}",
            "set_tcp_nodelay true",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_type information",
            "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        ]


def find_mosquitto() -> str | None:
    """On PATH, or where Debian puts it, which is not on every user's PATH."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def _mosquitto_version(program: str) -> str:
    said = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    words = said.split()
    return words[2] if len(words) > 2 and words[1] == "version" else "unknown"


def _embedded(folder: Path, port: int) -> tuple[_Server, str]:
    try:
        from hil.embedded_broker import EmbeddedBroker, version
    except ImportError as error:
        raise BenchError(
            "NO_BROKER",
            "there is no broker on this machine: apt install mosquitto, or "
            "pip install 'chargeflash[demo]'",
            EXIT_NOT_FOUND,
        ) from error
    return EmbeddedBroker(HOST, port, folder / "broker.log"), version


def _tls_lines(tls: Tls | None) -> list[str]:
    if tls is None:
        return []
    lines = [f"certfile {tls.cert}", f"keyfile {tls.key}", "tls_version tlsv1.2"]
    if tls.ca is not None:
        lines += [f"cafile {tls.ca}", "require_certificate true", "use_identity_as_username true"]
    return lines


def _acl_lines(folder: Path, acl: str | None) -> list[str]:
    if acl is None:
        return []
    (folder / "acl").write_text(acl)
    (folder / "acl").chmod(0o600)
    return [f"acl_file {folder / 'acl'}"]


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise BenchError("PORT_BUSY", f"port {wanted} is taken: {error.strerror}") from error
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0
