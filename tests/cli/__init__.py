"""Tests of the `tprov` command."""
