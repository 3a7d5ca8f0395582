"""What may be shown: pure functions that take every secret out of what Terraform prints.

    redacted = redact_plan(json.loads(show_json), known=[api_key])
    view = plan_view(redacted)                       # for people
    event_view(event, redacted.scrubber)             # each line of `terraform apply -json`
    redact_outputs(output_json, redacted.scrubber)   # `terraform output -json`

Where there is no plan, a `Scrubber` is made of what is known otherwise: `given_secrets` before the
first one, `secrets_of_state` after an apply, `secrets_of_state_file` where no program is to run.

Terraform's own sensitivity marks come first and fail closed; literals of the configuration and
unknown keys of the format are dropped; then the exact values of every known secret are taken out,
in all their forms. What no pass can find is listed in docs/redaction.md. A plan of 5 MB takes half
a second: call them off an event loop.
"""

from tprov_kernel.redaction.hcl import (
    assigned_values,
    declared_types,
    declared_variables,
    ephemeral_variables,
    sensitive_variables,
)
from tprov_kernel.redaction.plan import (
    Redacted,
    given_secrets,
    redact_plan,
    secret_keys,
    secrets_of_state,
    secrets_of_state_file,
)
from tprov_kernel.redaction.scrub import SENSITIVE, Scrubber, without_credentials
from tprov_kernel.redaction.stream import event_view, redact_outputs
from tprov_kernel.redaction.view import plan_view

__all__ = [
    "SENSITIVE",
    "Redacted",
    "Scrubber",
    "assigned_values",
    "declared_types",
    "declared_variables",
    "ephemeral_variables",
    "event_view",
    "given_secrets",
    "plan_view",
    "redact_outputs",
    "redact_plan",
    "secret_keys",
    "secrets_of_state",
    "secrets_of_state_file",
    "sensitive_variables",
    "without_credentials",
]
