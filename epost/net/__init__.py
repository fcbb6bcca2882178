"""Twisted transports: the receiver, the carrier, the exchanges of a domain."""
