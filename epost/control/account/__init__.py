"""The commands of C{epost account}, and the two files of accounts that they change."""
