"""
A stand-in for the outside: an SMTP server that keeps every message, octet for octet, and answers as it is told.

Plain sockets and threads, nothing of epost: what it says about a message was heard by somebody else's ears.
"""

import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

GREETING = ""  # what L{Sink.answer} is asked before the first command
END = "."  # and at the end of data


@dataclass(frozen=True, slots=True)
class Taken:
    """
    A message that was answered 250.

    @ivar sender: the reverse path, without brackets.
    @ivar recipients: the forward paths that were accepted, without brackets.
    @ivar content: as it came, dots unstuffed.
    @ivar helo: what the client called itself.
    @ivar parameters: what stood behind the reverse path, such as C{SIZE=100 BODY=8BITMIME}.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    helo: str
    parameters: str = ""


class Sink:
    """
    The server; a context that listens from begin to end.

    @ivar port: where, on C{host}.
    @ivar messages: what was taken, in order.
    @ivar commands: every command heard, in order, of all connections.
    @ivar answer: asked before each reply, with the command (L{GREETING}, L{END}): the reply, without line end, or
        L{None} for the usual one. An empty reply closes the connection.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, heard: Callable[[Taken], None] | None = None) -> None:
        """@param heard: called with each message, in a thread of the sink."""
        self.answer: Callable[[str], str | None] = lambda command: None
        self.messages: list[Taken] = []
        self.commands: list[str] = []
        self._heard = heard
        self._change = threading.Condition()
        self._server = _Server((host, port), _Session)
        self._server.sink = self
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> "Sink":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, count: int, seconds: float = 30) -> list[Taken]:
        """
        The messages, as soon as there are C{count}.

        @raise AssertionError: there are fewer after so many seconds.
        """
        deadline = time.monotonic() + seconds
        with self._change:
            while len(self.messages) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{len(self.messages)} of {count} messages came in {seconds} seconds")
                self._change.wait(left)
            return list(self.messages)

    def keep(self, message: Taken) -> None:
        """A message came."""
        with self._change:
            self.messages.append(message)
            self._change.notify_all()
        if self._heard:
            self._heard(message)


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    sink: Sink


class _Closed(Exception):
    """The other side is gone, or was told nothing on purpose."""


class _Session(socketserver.StreamRequestHandler):
    """One connection."""

    server: _Server
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Serve it to its end."""
        self.helo = self.sender = self.parameters = ""
        self.recipients: list[str] = []
        try:
            self.say(GREETING, "220 sink.example ESMTP")
            while line := self.rfile.readline():
                self.command(line.rstrip(b"\r\n").decode("utf-8", "backslashreplace"))
        except (_Closed, ConnectionError):
            return

    def say(self, command: str, usual: str) -> bool:
        """Answer. @return: whether that was a yes."""
        own = self.server.sink.answer(command)
        reply = usual if own is None else own
        if not reply:
            raise _Closed
        self.wfile.write(reply.encode() + b"\r\n")
        return reply < "4"

    def command(self, line: str) -> None:
        """Obey one command."""
        self.server.sink.commands.append(line)
        verb = line[:4].upper()
        if verb in ("HELO", "EHLO"):
            self.helo = line[5:]
            more = ("PIPELINING", "8BITMIME", "SMTPUTF8") if verb == "EHLO" else ()
            words = ("sink.example", *more)
            ends = "-" * (len(words) - 1) + " "
            self.say(line, "\r\n".join(f"250{end}{word}" for end, word in zip(ends, words, strict=True)))
        elif verb == "MAIL":
            self.recipients = []
            if self.say(line, "250 ok"):
                self.sender, self.parameters = self.path(line)
        elif verb == "RCPT":
            if self.say(line, "250 ok"):
                self.recipients.append(self.path(line)[0])
        elif verb == "DATA":
            self.data(line)
        elif verb == "QUIT":
            self.say(line, "221 bye")
            raise _Closed
        else:
            self.say(line, "250 ok" if verb in ("RSET", "NOOP") else "500 what?")

    def path(self, line: str) -> tuple[str, str]:
        """The path of MAIL or RCPT, and what stands behind it."""
        path, _, parameters = line.partition(":")[2].strip().removeprefix("<").rpartition(">")
        return path, parameters.strip()

    def data(self, line: str) -> None:
        """Take the content: only CRLF.CRLF ends it, and only a dot behind CRLF was stuffed."""
        if not self.say(line, "354 go on"):
            return
        lines, fresh = [], True
        while (line_ := self.rfile.readline()) != b".\r\n" or not fresh:
            if not line_:
                raise _Closed
            lines.append(line_[1:] if fresh and line_.startswith(b".") else line_)
            fresh = line_.endswith(b"\r\n")
        taken = Taken(self.sender, tuple(self.recipients), b"".join(lines), self.helo, self.parameters)
        # Kept before it is acknowledged, as a server should: a test that kills this process's peers loses nothing here.
        if self.server.sink.answer(END) is None:
            self.server.sink.keep(taken)
        self.say(END, "250 ok")
