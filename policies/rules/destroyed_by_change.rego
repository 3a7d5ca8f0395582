# METADATA
# scope: package
# title: Destroyed by a change
# description: >-
#   A namespace that is replaced loses its histories. Terraform says why it destroys something
#   (`action_reason`), and says nothing where destroying is what it was started for.
# custom:
#   level: soft-mandatory
#   remedy: Undo the change that makes Terraform destroy it, or keep it with a `moved` block.
package tprov.rules.destroyed_by_change

import data.tprov.plan

about := rego.metadata.chain()

findings contains plan.about(change, words) if {
	some change in input.resource_changes
	"delete" in change.change.actions
	"create" in change.change.actions
	words := sprintf("is destroyed and made anew%s.", [because(change)])
}

findings contains plan.about(change, "is destroyed: the configuration no longer asks for it.") if {
	some change in input.resource_changes
	change.change.actions == ["delete"]
	change.action_reason
}

# The attributes that cannot be changed in place, where Terraform names them.
because(change) := sprintf(", because its %s cannot be changed", [concat(" and ", names)]) if {
	names := {sprintf("%v", [path[0]]) | some path in change.change.replace_paths}
	count(names) > 0
} else := ""
