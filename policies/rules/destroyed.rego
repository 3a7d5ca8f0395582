# METADATA
# scope: package
# title: Destroyed on request
# description: >-
#   A run that was started to destroy does what it was asked for; this only says so. What a change
#   of the configuration destroys is another rule's (`destroyed_by_change`).
# custom:
#   level: advisory
#   remedy: Make sure that nobody needs it any more.
package tprov.rules.destroyed

import data.tprov.plan

about := rego.metadata.chain()

findings contains plan.about(change, "is destroyed.") if {
	some change in input.resource_changes
	change.change.actions == ["delete"]
	not change.action_reason
}

findings contains plan.about(change, "goes on to exist, but Terraform manages it no longer.") if {
	some change in input.resource_changes
	"forget" in change.change.actions
}
