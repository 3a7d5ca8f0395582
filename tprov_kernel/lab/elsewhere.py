"""A worker of another place: with other levels in its policies, another key, another endpoint.

Nothing is switched in the code of a run. The worker has other data and another environment, as one
in production has; a run finds out when it is judged there, and when it asks.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from tprov_kernel.files import write_private
from tprov_kernel.settings import Settings
from tprov_kernel.whatif import files_of


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What is not as here; None is as here.

    Attributes:
        levels: Rule name to enforcement level, put into ``data.json`` of a copy of the policies.
        cloud_key: Another key for the Cloud API; an empty one is none.
        cloud_endpoint: Another ``host:port`` of the Cloud API.
    """

    levels: Mapping[str, str] | None = None
    cloud_key: str | None = field(default=None, repr=False)
    cloud_endpoint: str | None = None

    def settings(self, here: Settings) -> Settings:
        """The settings of a worker there.

        Raises:
            PolicyError: There is no rule of a name, or the policies cannot be read.
        """
        cloud = here.cloud
        if self.cloud_key is not None:
            cloud = replace(cloud, api_key=self.cloud_key)
        if self.cloud_endpoint is not None:
            cloud = replace(cloud, endpoint=self.cloud_endpoint)
        there = replace(here, cloud=cloud)
        return _with_levels(there, self.levels) if self.levels else there

    def words(self, replaced: Collection[str] = ()) -> str:
        """What is not as here, in words; a key is never shown.

        Args:
            replaced: Names of activities that a reader has written.
        """
        said = [f"with your {name}" for name in replaced]
        if self.levels:
            table = ", ".join(f"{rule}: {level}" for rule, level in self.levels.items())
            said.append(f"with the level table {{{table}}}")
        if self.cloud_key is not None:
            said.append("with another key for the Cloud API" if self.cloud_key else "without a key")
        if self.cloud_endpoint is not None:
            said.append(f"with the Cloud API at {self.cloud_endpoint}")
        return f"The worker runs again, {', '.join(said)}." if said else "The worker runs again."


def _with_levels(settings: Settings, levels: Mapping[str, str]) -> Settings:
    """With a copy of the policies whose level table is another one; the workspace's stay."""
    files = files_of(settings.policies, rego={}, levels=levels)
    copy = settings.home / "policies" / settings.task_queue
    shutil.rmtree(copy, ignore_errors=True)
    for name, content in files.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        write_private(copy / name, content)
    return replace(settings, policies=copy)
