"""
C{twistd epost-gateway}: the mail server in front of a back-end, which decides who may write outside.

It has no mailboxes: it applies the rules of effect.dat and passes mail on by gateway.dat. L{epost.daemon} is what it is
made of.
"""

from epost import commandline


class Options(commandline.Options):
    """The command line."""

    kind = "gateway"
    synopsis = "[options] --config FILE"


makeService = commandline.makeDaemon
