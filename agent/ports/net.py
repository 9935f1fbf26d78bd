"""The network as a session sees it: settings and a port in, connections, tasks and events out."""

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.config import Config


class Net:
    """`connect` gives a stream of the port: TLS where the settings have it, and never without.

    TLS files are read at the first connection and kept parsed; one that is missing or broken is an
    error of every try, so the device goes on without a broker.
    """

    def __init__(self, port: "Any", config: "Config") -> None:
        self._port = port
        self._config = config
        self._tls: "Any" = None
        self.now_ms = port.now_ms
        self.sleep_ms = port.sleep_ms

    async def connect(self) -> "Any":
        """A new connection to the broker; OSError or ValueError."""
        config = self._config
        await self._port.attach(config.network)
        server_name = ""
        if config.tls is not None:
            server_name = config.tls["server_name"]
            if self._tls is None:
                self._tls = self._context(config.tls)
        return await self._port.connect(config.host, config.port, self._tls, server_name)

    def _context(self, names: "dict[str, str]") -> "Any":
        files = []
        for part in ("ca", "cert", "key"):
            try:
                files.append(self._port.read_file(names[part]))
            except OSError as err:
                raise OSError("TLS file {} ({}): {}".format(names[part], part, err))
        return self._port.tls_context(files[0], files[1], files[2])

    def start(self, coroutine: "Any") -> "Any":
        """Run it beside the others; the task has cancel()."""
        return asyncio.create_task(coroutine)

    def event(self) -> "Any":
        """set(), clear(), await wait()."""
        return asyncio.Event()
