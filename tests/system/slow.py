"""A next hop that takes its time: it reads content at a given rate, keeps nothing of it, and says what it is told."""

import socketserver
import threading
import time

RATE = 40_000_000  # octets a second on one connection


class SlowReader:
    """
    The server; a context that listens from begin to end.

    @ivar port: where, on 127.0.0.1.
    @ivar verdict: what it says to the end of data, without line end.
    """

    def __init__(self, rate: int = RATE) -> None:
        """@param rate: octets a second on one connection."""
        self.rate = rate
        self.verdict = "250 ok"
        self._server = _Server(("127.0.0.1", 0), _Session)
        self._server.reader = self
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> "SlowReader":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    daemon_threads = True
    block_on_close = False
    reader: SlowReader


class _Session(socketserver.StreamRequestHandler):
    """One connection, command by command."""

    server: _Server

    def handle(self) -> None:
        """Say yes to everything."""
        self.wfile.write(b"220 slow.example\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.content()
            self.wfile.write(
                {b"DATA": self.server.reader.verdict.encode(), b"QUIT": b"221"}.get(verb, b"250") + b" ok\r\n"
            )
            if verb == b"QUIT":
                return

    def content(self) -> None:
        """Read to the end of data, no faster than is allowed."""
        began, size, last = time.monotonic(), 0, b""
        while last != b"\r\n.\r\n" and (part := self.rfile.read1(65536)):
            size += len(part)
            last = (last + part)[-5:]
            time.sleep(max(0.0, began + size / self.server.reader.rate - time.monotonic()))
