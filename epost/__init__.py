"""epost: a mail server pair, a back-end with mailboxes and the gateway in front of it."""

__version__ = "0.1.0"
