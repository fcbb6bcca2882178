"""Tests of L{epost.control}."""
