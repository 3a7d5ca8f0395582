"""The `tprov` command.

    __init__   the one edge: what goes wrong becomes a sentence, and an exit code
    app        runs a command line; base: what all commands share
    *_commands what each command is called, takes and teaches; it does nothing itself
    place      which services, which settings; a client where one is needed
    looking    status                          stacks     start, approve, deny, ..., destroy
    serve      up                              closing    down, reset
    working    worker, codec-server            terminal   env
    keys       keys list, rotate, drop
    notebooks  lab (jupyter: its places)       play       play (headless: runs the notebook)
    gate       audit, policy try, policy explain
    doctor     doctor (looks: at what)         tools      setup
    render     a run as a terminal shows it (follow: while it goes on)
    say        sentences, errors, questions

Exit codes: 0 it is as asked; 1 it is not, a sentence says why; 2 the command was mistyped;
130 interrupted; `policy try`: 3 a human would have to decide, 4 forbidden. Heavy modules are
imported by the command that needs them, so `--help` is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

USAGE = 2
INTERRUPTED = 130


def main() -> NoReturn:
    """Run this process's command line, and end the process with its exit code."""
    code = command(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    if "temporalio" in sys.modules:
        # Threads of its core may still call into an interpreter that is being torn down, which
        # then aborts (exit code 134). Everything of ours has been closed by now.
        os._exit(code)
    sys.exit(code)


def command(argv: Sequence[str]) -> int:
    """Run a command line; give its exit code.

    Args:
        argv: The arguments, without the program's name.
    """
    from tprov_kernel.cli import say
    from tprov_kernel.cli.app import run
    from tprov_kernel.errors import TprovError

    try:
        code = run(argv)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code
    except TprovError as error:
        say.error(error)
        return 1
    except say.Usage as error:
        say.sentence(str(error), remedy=error.remedy)
        return USAGE
    except say.Interrupted as error:
        say.aside(str(error))
        return INTERRUPTED
    except KeyboardInterrupt:
        say.aside("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  (it is flushed at the end)
        return 1
    except OSError as error:
        if os.environ.get("TPROV_DEBUG"):
            raise
        place = f" ({error.filename})" if error.filename else ""
        say.sentence(
            f"The system does not let us: {error.strerror or error}{place}.",
            remedy="Make room or make it writable; TPROV_HOME names another place for our data.",
        )
        return 1
    except Exception as error:
        if os.environ.get("TPROV_DEBUG"):
            raise
        say.sentence(
            f"Something happened that was not foreseen: {type(error).__name__}: {error}",
            remedy="With TPROV_DEBUG=1 the same command shows where; please report it.",
        )
        return 1
