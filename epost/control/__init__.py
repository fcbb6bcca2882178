"""The command C{epost}: what an administrator does to a server beside editing its files."""
