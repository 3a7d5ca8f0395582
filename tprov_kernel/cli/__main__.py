"""``python -m tprov_kernel.cli``: the same as `tprov`."""

from tprov_kernel.cli import main

if __name__ == "__main__":
    main()
