"""Durable infrastructure provisioning, live in a notebook."""
