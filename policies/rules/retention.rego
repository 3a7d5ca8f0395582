# METADATA
# scope: package
# title: Retention out of bounds
# description: >-
#   How long histories are kept is within the bounds of the settings (`retention_days`): too
#   short, and nobody can look into last week's failure; too long, and it costs.
# custom:
#   level: advisory
#   remedy: Choose `retention_days` within the bounds.
package tprov.rules.retention

import data.tprov.plan

about := rego.metadata.chain()

findings contains plan.about(change, words) if {
	some change in plan.touched_of("temporalcloud_namespace")
	days := plan.known(change, "retention_days")
	bounds := data.settings.retention_days
	not within(days, bounds)
	words := sprintf("keeps histories for %v days; the bounds are %v and %v.", [days, bounds.min, bounds.max])
}

findings contains plan.about(change, "keeps histories for a time that is known only after apply.") if {
	some change in plan.touched_of("temporalcloud_namespace")
	plan.unknown(change, "retention_days")
}

within(days, bounds) if {
	days >= bounds.min
	days <= bounds.max
}
