"""
C{make interop}: the pair, tried from outside with clients and servers that nobody here wrote.

Clients: a table in L{tests.interop.clients}; servers: Postfix on both sides, in L{tests.interop.servers}.
"""
