"""
An SMTP client of plain sockets that keeps a transcript: what a person at C{nc} would see.

It sends what it is given, right or wrong, so that a test can be as rude as it likes.
"""

import socket
from collections.abc import Iterable


class Conversation:
    """
    One connection; a context that closes it.

    @ivar transcript: every line heard and said, in order, with C{S: } or C{C: } in front; of content, only its size.
    @ivar greeting: the first reply.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", source: str = "127.0.0.1", seconds: float = 30) -> None:
        """
        @param source: the address that we come from; any of 127.0.0.0/8 will do.
        @param seconds: how long to wait for each reply.
        """
        self._socket = socket.create_connection((host, port), seconds, (source, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self.transcript: list[str] = []
        self.greeting = self.reply()

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up without a word."""
        self._file.close()
        self._socket.close()

    def send(self, octets: bytes) -> None:
        """Send octets as they are; nothing is awaited and nothing noted."""
        self._socket.sendall(octets)

    def reply(self) -> str:
        """The next reply, its lines joined by LF. @raise ConnectionError: the server hung up."""
        lines: list[str] = []
        while True:
            line = self._file.readline()
            if not line.endswith(b"\r\n"):
                raise ConnectionError(f"closed by the server behind {lines or self.transcript[-1:]}")
            lines.append(line[:-2].decode("utf-8", "backslashreplace"))
            self.transcript.append(f"S: {lines[-1]}")
            if line[3:4] != b"-":
                return "\n".join(lines)

    def say(self, command: str) -> str:
        """Say one command and hear the reply."""
        self.transcript.append(f"C: {command}")
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def mail(
        self, sender: str, recipients: Iterable[str], content: bytes, blank: str = "", parameters: str = ""
    ) -> str:
        """
        One transaction, as far as it goes.

        @param content: lines ended by CRLF; dots are stuffed here.
        @param blank: what stands between the colon and the path: C{" "} as E-Post writes it.
        @param parameters: of MAIL, with a blank in front.
        @return: the first refusal, or the reply to the end of data.
        """
        commands = [f"MAIL FROM:{blank}<{sender}>{parameters}"]
        commands += [f"RCPT TO:{blank}<{recipient}>" for recipient in recipients]
        for command in [*commands, "DATA"]:
            reply = self.say(command)
            if reply >= "4":
                return reply
        self.transcript.append(f"C: ({len(content)} octets of content)")
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        self.send((b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n")
        self.transcript.append("C: .")
        return self.reply()


def submit(
    port: int, sender: str, recipients: Iterable[str], content: bytes, source: str = "127.0.0.1", helo: str = "test"
) -> str:
    """One message on a connection of its own. @return: as L{Conversation.mail}."""
    with Conversation(port, source=source) as conversation:
        conversation.say(f"EHLO {helo}")
        reply = conversation.mail(sender, recipients, content)
        conversation.say("QUIT")
        return reply
