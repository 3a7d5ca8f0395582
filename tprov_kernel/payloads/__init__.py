"""Payloads: the key ring, the codec that encrypts with it, and the server that decodes for people.

Nothing is imported here: `keyring` is cheap, `codec` needs the Temporal SDK, `server` aiohttp.
"""
