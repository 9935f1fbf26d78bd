"""The line between board and broker does to the bytes what the test asked for, and counts them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from hil.link import Link


class Far:
    """The far end: answers every byte with as many as `factor` says."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.seen = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)  # or its accept would take one more
        self.server.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(peer,), daemon=True).start()

    def _echo(self, peer: socket.socket) -> None:
        try:
            with peer:
                while data := peer.recv(65536):
                    self.seen += len(data)
                    peer.sendall(data)
        except OSError:
            pass


@pytest.fixture
def far() -> Iterator[Far]:
    end = Far()
    yield end
    end.close()


def near(link: Link) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), timeout=3)


def read(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := peer.recv(size - len(data))):
        data += part
    return data


def test_bytes_pass_both_ways_and_are_counted(far: Far) -> None:
    with Link(far.port) as link, near(link) as peer:
        peer.sendall(b"hello")
        assert read(peer, 5) == b"hello"
        assert (link.up.bytes, link.down.bytes, link.connections) == (5, 5, 1)


def test_a_cut_line_resets_refuses_and_comes_back_on_the_same_port(far: Far) -> None:
    with Link(far.port) as link, near(link) as peer:
        link.cut()
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
        with pytest.raises(ConnectionRefusedError):
            near(link)
        link.restore()
        with near(link) as again:
            again.sendall(b"x")
            assert read(again, 1) == b"x"


def test_a_cut_after_n_bytes_lets_exactly_n_through(far: Far) -> None:
    with Link(far.port) as link, near(link) as peer:
        link.cut_after(1000)
        peer.sendall(bytes(5000))
        got = 0
        with pytest.raises(ConnectionResetError):
            while True:
                got += len(peer.recv(65536))
        assert got == 1000 == link.down.bytes
        assert link.wait_cut(1)
        assert link.is_cut


def test_a_stalled_line_says_nothing_but_stays(far: Far) -> None:
    with Link(far.port) as link, near(link) as peer:
        peer.sendall(b"a")
        assert read(peer, 1) == b"a"
        link.stall()
        peer.settimeout(0.2)
        peer.sendall(b"b")
        with pytest.raises(TimeoutError):
            peer.recv(1)
        assert far.seen == 1
        link.restore()
        peer.settimeout(3)
        assert read(peer, 1) == b"b"


def test_a_line_has_the_rate_and_the_delay_that_were_asked_for(far: Far) -> None:
    with Link(far.port, rate_bytes_s=40_000) as link, near(link) as peer:
        began = time.monotonic()
        threading.Thread(target=peer.sendall, args=(bytes(24_000),)).start()
        read(peer, 24_000)
        assert 0.45 < time.monotonic() - began < 1.0  # 0.6 s less the burst
        link.rate_bytes_s, link.delay_ms = None, 100
        began = time.monotonic()
        peer.sendall(b"x")
        read(peer, 1)
        assert 0.2 <= time.monotonic() - began < 0.5


def test_when_one_end_goes_the_other_hears_it(far: Far) -> None:
    with Link(far.port) as link:
        with near(link) as peer:
            peer.sendall(b"x")
            read(peer, 1)
        far.close()
        with near(link) as peer:
            assert peer.recv(1) == b""
