"""The Cloud API stand-in as a notebook tells it to have a bad minute."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from tprov_kernel.errors import ServiceError
from tprov_kernel.lab.runtime import Runtime
from tprov_kernel.settings import CloudSettings
from tprov_kernel.standin.control import StandinControl


def control_of(cloud: CloudSettings) -> StandinControl:
    """The control of the stand-in.

    Raises:
        ServiceError: It is Temporal Cloud itself, which takes no orders to fail.
    """
    if not cloud.is_stand_in:
        raise ServiceError(
            f"{cloud.endpoint} is no stand-in: it cannot be told to fail.",
            remedy="Use open_lab() with its local services.",
        )
    return StandinControl(cloud.endpoint, cloud.api_key)


class CloudApi:
    """Breaks, slows and mends the stand-in; whatever it is told, it says in a line.

    Faults are injected at the API, where real ones come from: neither the workflow nor a step
    knows of them.

    Args:
        runtime: Where the calls are made.
        control: The stand-in's own control.
    """

    def __init__(self, runtime: Runtime, control: StandinControl) -> None:
        self._runtime, self._control = runtime, control

    def fail(
        self,
        method: str = "GetAccount",
        code: str = "UNAVAILABLE",
        *,
        times: int | None = 1,
        every: int = 1,
    ) -> None:
        """Answer the next calls of a method with an error.

        Args:
            method: A method of the Cloud API, or ``*``. ``GetAccount`` is what a run asks first.
            code: A gRPC status such as ``UNAVAILABLE``.
            times: How many calls; None until `mend`.
            every: 2 lets every second call through, and so on.
        """
        self._tell(self._control.fail(method, code, times=times, every=every))

    def slow(self, seconds: float, method: str = "GetAccount", *, times: int | None = None) -> None:
        """Let the next calls of a method take longer."""
        self._tell(self._control.slow(method, seconds, times=times))

    def lose(self, method: str, code: str = "UNAVAILABLE", *, times: int | None = 1) -> None:
        """Do what the next calls of a method ask, and answer with an error all the same."""
        self._tell(self._control.lose(method, code, times=times))

    def mend(self) -> None:
        """Take every fault back."""
        self._runtime.call(self._control.mend(), timeout=10)
        print("The Cloud API is well again.")

    def _tell(self, work: Coroutine[Any, Any, str]) -> None:
        print(self._runtime.call(work, timeout=10))
