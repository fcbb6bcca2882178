"""A client of a L{Net} that says what a test tells it, octet by octet if need be."""

from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.world.net import Host


class Client(Protocol):
    """
    One connection.

    @ivar heard: all octets that have come.
    @ivar said: the lines of L{say}, and of the replies to them.
    @ivar gone: why the connection has ended; L{None} while it stands.
    """

    def __init__(self, host: Host, address: str, port: int = 25) -> None:
        """Connect. @raise AssertionError: nobody answers."""
        self.heard = b""
        self.said: list[str] = []
        self.gone: Failure | None = None
        self._net = host.net
        self._read = 0
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda goal: self
        factory.clientConnectionFailed = lambda connector, reason: self.connectionLost(reason)
        host.connectTCP(address, port, factory)
        self._net.until(lambda: self.connected or self.gone)

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep that too."""
        self.gone = reason

    def write(self, octets: bytes) -> None:
        """Say something and wait for nothing."""
        self.transport.write(octets)

    def reply(self) -> list[str]:
        """Wait for the next reply. @return: its lines; none where the connection has ended."""
        reply: list[str] = []
        while not reply or reply[-1][3:4] == "-":
            self._net.until(lambda: b"\r\n" in self.heard[self._read :] or self.gone)
            line, end, _ = self.heard[self._read :].partition(b"\r\n")
            if not end:
                return reply
            self._read += len(line) + 2
            reply.append(line.decode())
        self.said += reply
        return reply

    def hear(self, *lines: str) -> list[str]:
        """Say lines at once and wait for nothing. @return: the lines that have come by the end of this moment."""
        self.write("".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape"))
        self._net.run(0)
        new, self._read = self.heard[self._read :], len(self.heard)
        return new.decode().splitlines()

    def say(self, *lines: str) -> str:
        """Say lines in turn, each when the one before has its reply. @return: the last line of the last reply."""
        for line in lines:
            self.said.append(line)
            self.write(line.encode("utf-8", "surrogateescape") + b"\r\n")
            reply = self.reply()
        return reply[-1]

    def mail(self, sender: str, recipients: list[str], content: bytes) -> str:
        """One transaction, from MAIL to the reply to the end of data."""
        self.say(f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA")
        self.write(content + b".\r\n")
        return self.reply()[-1]
