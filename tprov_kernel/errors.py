"""Every failure a person can meet, as one tree.

    TprovError                     a sentence, a remedy, and whether trying again can help
    ├── SettingsError              the environment contradicts itself, or lacks something
    ├── ToolError                  terraform, opa, the provider, temporal: missing, too old, broken
    ├── ServiceError               a local service cannot be started, or does not answer
    ├── StorageError               a disk or a file takes or gives nothing; retried until it does
    ├── StackError                 the stack: no such thing, no such name
    │   └── StackBusy              somebody else's run is open on it
    │       └── StillAtWork        a Terraform of an earlier attempt has not ended yet
    ├── ConfigurationError         the Terraform configuration or its variables are wrong
    │   └── ReferenceMissing       env:NAME or file:PATH leads nowhere on this worker
    ├── TooLarge                   a value that would not fit into a payload
    ├── KeyNeeded                  a key that a run still needs is not dropped
    ├── SealBroken                 a sealed value cannot be opened with the keys at hand
    ├── TerraformFailed            Terraform ran and failed; another attempt may succeed
    ├── ReviewOutdated             the world is no longer what was reviewed
    ├── OutcomeUnknown             an apply ended without telling how
    ├── NotBegun                   an apply could not begin: nothing was done
    ├── Interrupted                a person stopped an apply
    ├── PolicyError                a policy does not compile or does not give a verdict
    ├── PolicyViolation            a hard-mandatory rule: nobody may override
    ├── DecisionRefused            an approval or a denial that cannot be taken
    ├── FilterRefused              a list filter that the server does not understand
    ├── NotPublic                  a value that must not go into a search attribute
    └── CloudError                 the Temporal Cloud API
        ├── KeyMissing             no API key in the worker's environment
        ├── KeyRejected            the API key is not accepted
        ├── AlreadyExists          what the plan would create exists and is not ours
        └── CloudUnavailable       it does not answer; another attempt may succeed

``retryable`` is the one place that says whether another attempt is of any use: the activities'
edge reads it (`activities.py`), and the retry policies follow.
"""

from __future__ import annotations

from typing import ClassVar


class TprovError(Exception):
    """The root: a sentence for the person who is looking, and what to do about it.

    Args:
        message: One sentence, with its full stop, that says what is wrong.
        remedy: What to do, as an imperative sentence; empty where nothing can be advised.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class SettingsError(TprovError):
    """The environment contradicts itself, or lacks something."""


class ToolError(TprovError):
    """A program we need is missing, too old, or broken; once it is mended, a run goes on."""

    retryable = True


class ServiceError(TprovError):
    """A local service cannot be started, or does not answer."""


class StorageError(TprovError):
    """A disk is full, or a file cannot be read or written; once that is mended, a run goes on."""

    retryable = True


class StackError(TprovError):
    """There is no such stack, or its name is no name."""


class StackBusy(StackError):
    """A run is open on the stack; Temporal refuses a second one."""


class StillAtWork(StackBusy):
    """A Terraform of an earlier attempt or run has not ended yet; later it will have."""

    retryable = True


class ConfigurationError(TprovError):
    """The Terraform configuration or its variables are wrong; trying again cannot help."""


class ReferenceMissing(ConfigurationError):
    """A variable's env:NAME or file:PATH leads nowhere; once the worker has it, a run goes on."""

    retryable = True


class TooLarge(TprovError):
    """A value that would not fit into a payload."""


class KeyNeeded(TprovError):
    """A key that an open run needs, or may come to need, is not dropped."""


class SealBroken(TprovError):
    """A sealed value cannot be opened with the keys at hand, or was changed."""


class TerraformFailed(TprovError):
    """Terraform ran and failed; another attempt may succeed."""

    retryable = True


class ReviewOutdated(TprovError):
    """Plan, state, policies or Terraform are no longer what was reviewed."""


class OutcomeUnknown(TprovError):
    """An apply ended without telling how; it is never simply repeated."""


class NotBegun(TprovError):
    """An apply could not begin, so nothing was done; once that is mended, it may begin."""


class Interrupted(TprovError):
    """A person stopped an apply; what it had done by then is for recovery to find out."""


class PolicyError(TprovError):
    """A policy does not compile, or gives no verdict; a plan it cannot judge is never allowed."""


class PolicyViolation(TprovError):
    """A hard-mandatory rule was broken: nobody may override it."""


class DecisionRefused(TprovError):
    """An approval or a denial that cannot be taken; nothing was recorded."""


class FilterRefused(TprovError):
    """A list filter that the Temporal server does not understand."""


class NotPublic(TprovError):
    """A value that must not go into a search attribute: those are never encrypted."""


class CloudError(TprovError):
    """The Temporal Cloud API refused."""


class KeyMissing(CloudError):
    """There is no Temporal Cloud API key in the worker's environment."""


class KeyRejected(CloudError):
    """The Temporal Cloud API does not accept the key."""


class AlreadyExists(CloudError):
    """What the plan would create exists already, and is not ours."""


class CloudUnavailable(CloudError):
    """The Temporal Cloud API does not answer; another attempt may succeed."""

    retryable = True
