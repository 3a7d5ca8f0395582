"""Tests; a package, so that its parts can share helpers by name: `tests.browser`."""
