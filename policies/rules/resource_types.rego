# METADATA
# scope: package
# title: Resource type that is not allowed
# description: >-
#   Plans make what the settings allow (`resource_types`), which is what the rules understand.
#   Anything else may do things that no rule looks at: a `terraform_data` with a provisioner runs
#   programs on the worker. What is only destroyed or forgotten passes.
# custom:
#   level: soft-mandatory
#   remedy: Leave it out, or add its type to `resource_types` in policies/data.json.
package tprov.rules.resource_types

import data.tprov.plan

about := rego.metadata.chain()

findings contains plan.about(change, words) if {
	some change in plan.touched
	not change.type in data.settings.resource_types
	words := sprintf("is a %v, which is not an allowed type.", [change.type])
}

# A data source that waits for the apply; `external`, for one, runs a program.
findings contains plan.about(change, words) if {
	some change in input.resource_changes
	"read" in change.change.actions
	words := sprintf("reads a %v, which does not come from Temporal Cloud.", [change.type])
	not regex.match("^temporalcloud_", sprintf("%v", [change.type]))
}

# Terraform 1.14 and later: actions, which are no resources.
findings contains plan.about(invocation, "is an action, and no rule can tell what it does.") if {
	some invocation in input.action_invocations
}
