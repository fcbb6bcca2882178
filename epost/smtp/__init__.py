"""The SMTP protocol on both sides, without I/O: octets in, events and octets out (RFC 5321)."""
