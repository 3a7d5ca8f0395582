"""Words that are public whatever a plan marks: they are never taken for a secret.

With `sensitive` on an object that holds ``role = "developer"``, every other ``developer`` would
otherwise be hidden too, and neither people nor policies could read the plan.
"""

from __future__ import annotations

import re

_ROLES = """
    owner admin developer read write none financeadmin metricsread custom
    accountowner accountadmin namespaceadmin namespacewrite namespaceread
    account owner account admin
"""
_TERRAFORM = """
    action action_reason address after after_sensitive after_unknown applyable before
    before_sensitive change changes child_modules complete config_values configuration count create
    delete deposed detail diagnostic elapsed_seconds ephemeral errored expression expressions
    filename for_each_expression format_version full_name hook implied_provider importing index
    instances managed mode module module_address module_calls no-op operation output_changes outputs
    planned_values previous_address previous_resource prior_state problems provider_config
    provider_config_key provider_name provisioner reason references registry.terraform.io
    relevant_attributes replace replace_paths resource resource_changes resource_drift resource_key
    resource_name resource_type resources root_module schema_version sensitive sensitive_values
    severity source status summary temporalcloud terraform terraform.io/builtin/terraform
    terraform_data terraform_version timestamp to_display type unknown update values variables
    registry.terraform.io/temporalio/temporalcloud
    @level @message @timestamp
"""

WORDS = frozenset(_ROLES.split()) | frozenset(_TERRAFORM.split())
"""In lower case."""

_SHAPES = re.compile(
    r"""
    (aws|gcp|azure)-[a-z]+(-[a-z]+)*-?\d*   # regions: aws-us-east-1, gcp-europe-west3
    | temporalcloud_[a-z_]+                 # resource types
    """,
    re.VERBOSE,
)


def is_public_word(text: str) -> bool:
    """Whether a value is a role, a region, a resource type or a name of Terraform's formats."""
    return text.casefold() in WORDS or _SHAPES.fullmatch(text) is not None
