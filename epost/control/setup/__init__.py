"""The command C{epost setup}: what it asks, what it writes, what it says."""
