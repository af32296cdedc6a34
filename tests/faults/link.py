"""A link between a worker and a server that a test can cut, freeze and mend: a small TCP proxy."""

import select
import socket
import threading
from contextlib import suppress
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

Condition = Literal["up", "frozen", "deaf", "down"]
"""up: bytes flow · frozen: none flow, connections stay · deaf: requests pass, answers do not ·
down: connections are reset and new ones refused at once."""


class Link:
    """Forwards connections from a port of its own to a server's, as long as the link is up."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._closing = False
        self.condition: Condition = "up"
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @classmethod
    def to(cls, url: str) -> "Link":
        """A link to the server of a URL."""
        return cls(urlsplit(url).port or 0)

    def through(self, url: str) -> str:
        """The URL, by way of this link."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{self.port}"))

    def set(self, condition: Condition) -> None:
        """Change the link's condition; going down resets what is connected."""
        with self._lock:
            self.condition = condition
            if condition == "down":
                for pair in self._pairs:
                    self._drop(pair)
                self._pairs.clear()

    def close(self) -> None:
        self._closing = True
        self._thread.join()
        self.set("down")
        self._listener.close()

    def _serve(self) -> None:
        while not self._closing:
            with self._lock:
                ends = (
                    {end: pair for pair in self._pairs for end in pair} if self.condition != "frozen" else {}
                )
                ready, _, _ = select.select([self._listener, *ends], [], [], 0.01)
                for end in ready:
                    if end is self._listener:
                        self._accept()
                    elif ends[end] in self._pairs:
                        self._forward(end, ends[end])

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self.condition == "down":
            self._reset(client)
            return
        try:
            server = socket.create_connection(self._server, timeout=5)
        except OSError:
            self._reset(client)
            return
        self._pairs.append((client, server))

    def _forward(self, end: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        client, server = pair
        try:
            data = end.recv(65536)
            if data and not (end is server and self.condition == "deaf"):
                (server if end is client else client).sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(pair)
            self._pairs.remove(pair)

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        for end in pair:
            self._reset(end)

    def _reset(self, end: socket.socket) -> None:
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            end.close()
