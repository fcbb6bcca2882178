"""
Writing without a detour.

Twisted's C{write} keeps the octets until the next turn of the reactor: for each reply two calls of epoll_ctl and one
more pass through its machinery, which together cost more than the reply. Most replies are short and the socket has
room, so here they are sent at once; what the socket does not take goes the common way, in the right order.
"""

from typing import Any

from twisted.internet import tcp

_PLAIN = (tcp.Server, tcp.Client)


def write(transport: Any, octets: bytes) -> bool:
    """
    Write to a connection. Back-pressure works as with C{transport.write}.

    @param transport: any ITransport. Where it is no plain TCP connection, or something waits in it already, this is
        its C{write}.
    @return: whether all of it is known to be with the system.
    """
    # Nothing public tells whether something waits: these three are what doWrite looks at.
    busy = type(transport) not in _PLAIN or transport.dataBuffer or transport._tempDataLen or transport.TLS
    if not busy and transport.connected and not transport.disconnecting:
        try:
            sent = transport.getHandle().send(octets)
        except OSError:  # there is no room, or nobody any more: the common way finds out
            sent = 0
        if sent == len(octets):
            return True
        octets = octets[sent:]
    transport.write(octets)
    return False
