"""Tests of L{epost.control.setup}."""
