"""``python -m tprov_kernel.toolchain [TOOL]``: get the tools, or print where one of them is."""

import sys

from tprov_kernel.toolchain import main

sys.exit(main(sys.argv[1:]))
