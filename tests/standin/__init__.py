"""The Cloud API stand-in."""
