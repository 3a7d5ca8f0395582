"""The local services: Temporal dev server, codec server, Cloud API stand-in.

`open_services` opens the three in a data directory, `attach` finds those that somebody else has
open there, `local_settings` says what they mean for us, `environment_for_terminal` what a terminal
needs to meet them, `reset` brings the directory back to zero. One process has a directory open at
a time, and nothing of it outlives that process.

    opened.py    starts, watches, stops, closes
    programs.py  how each is started
    home.py      the data directory: lock, owner, reset
    ports.py     which ports
    answers.py   does a service answer?
    wishes.py    stop or start one, from any process
    local.py     settings, and a terminal's environment
"""

from tprov_kernel.services.home import Kind, Owner, ServicesInfo, owner_of, reset, stacks_at_work
from tprov_kernel.services.local import environment_for_terminal, local_settings
from tprov_kernel.services.opened import (
    Services,
    attach,
    is_in_use,
    open_services,
)

__all__ = [
    "Kind",
    "Owner",
    "Services",
    "ServicesInfo",
    "attach",
    "environment_for_terminal",
    "is_in_use",
    "local_settings",
    "open_services",
    "owner_of",
    "reset",
    "stacks_at_work",
]
