"""
What a TLS connection costs in memory while it idles: C{python -m bench.idle}.

A server in a process of its own, with L{epost.net.tls.ServerContexts} and a protocol that answers one line, over
127.0.0.1. Connections are opened by the hundred, each says a line and hears one, and then all of them rest. What the
server's resident memory has grown by is told by connection, beside the same without TLS. No more is done than fits into
half a minute and the limit of open files.
"""

import ctypes
import gc
import os
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

COUNT = 1000
WAYS = (("clear", None), ("TLS 1.2", ssl.TLSVersion.TLSv1_2), ("TLS 1.3", ssl.TLSVersion.TLSv1_3))


def serve(folder: str) -> None:
    """The server: turns every connection whose first line is STARTTLS to TLS, and tells its memory to who asks."""
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory, Protocol

    from epost.net.tls import Pairs, ServerContexts

    contexts = ServerContexts(Pairs(f"{folder}/x", 1, (("chain.pem", "key.pem"),)), reactor)
    if not contexts.load():
        raise SystemExit("\n".join(map(str, contexts.faults)))

    class Answering(Protocol):
        def dataReceived(self, data: bytes) -> None:
            if data == b"STARTTLS\r\n":
                self.transport.write(b"220\r\n")
                self.transport.startTLS(contexts, True)
            elif data == b"MEMORY\r\n":
                gc.collect()
                ctypes.CDLL(None).malloc_trim(0)
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                self.transport.write(b"%d\r\n" % (pages * resource.getpagesize()))
            else:
                self.transport.write(b"250 " + b"x" * 200 + b"\r\n")

    factory = Factory.forProtocol(Answering)
    factory.noisy = False
    print(reactor.listenTCP(0, factory, 1000, "127.0.0.1").getHost().port, flush=True)
    reactor.callLater(60, reactor.stop)
    reactor.run()


def _octets(teller: socket.socket) -> int:
    teller.sendall(b"MEMORY\r\n")
    return int(teller.recv(100))


def _open(port: int, version: ssl.TLSVersion | None) -> socket.socket:
    """A connection that has said a line and rests."""
    end = socket.create_connection(("127.0.0.1", port))
    if version is not None:
        end.sendall(b"STARTTLS\r\n")
        end.recv(100)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        end = context.wrap_socket(end)
    end.sendall(b"EHLO x\r\n")
    end.recv(1000)
    return end


def main() -> None:
    """Measure, and print a line for each way."""
    from tests.net.certificates import Authority, put

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        chain, key = Authority().issue("mx.test.jp")
        put(Path(folder), "chain.pem", chain)
        put(Path(folder), "key.pem", key)
        for name, version in WAYS:
            command = [sys.executable, "-m", "bench.idle", folder]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as server:
                assert server.stdout is not None
                port = int(server.stdout.readline())
                teller = socket.create_connection(("127.0.0.1", port))
                resting = [_open(port, version) for _ in range(50)]  # what is made once
                before = _octets(teller)
                resting += [_open(port, version) for _ in range(COUNT)]
                each = (_octets(teller) - before) / COUNT / 1024
                print(f"{name}: {each:.1f} KiB a connection ({COUNT} of them)")
                for end in resting:
                    end.close()
                server.terminate()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        main()
