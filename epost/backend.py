"""
C{twistd epost-backend}: the mail server with mailboxes.

ESMTP server, a Maildir for each account, and the queue that passes on what is for others. L{epost.daemon} is what it
is made of; C{[mailboxes]} in its configuration is what makes it a back-end.
"""

from epost import commandline


class Options(commandline.Options):
    """The command line."""

    kind = "backend"
    synopsis = "[options] --config FILE"


makeService = commandline.makeDaemon
