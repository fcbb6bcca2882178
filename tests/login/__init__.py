"""Tests of L{epost.login}."""
