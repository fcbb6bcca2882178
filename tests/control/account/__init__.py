"""Tests of L{epost.control.account}."""
