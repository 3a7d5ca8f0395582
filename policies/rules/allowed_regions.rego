# METADATA
# scope: package
# title: Region that is not allowed
# description: >-
#   A namespace lives in the regions that the settings allow (`regions`), and nowhere else.
# custom:
#   level: hard-mandatory
#   remedy: Choose an allowed region, or add this one to `regions` in policies/data.json.
package tprov.rules.allowed_regions

import data.tprov.plan

about := rego.metadata.chain()

findings contains plan.about(change, words) if {
	some change in plan.touched_of("temporalcloud_namespace")
	some region in change.change.after.regions
	region != null
	not region in data.settings.regions
	words := sprintf("lives in %v, which is not an allowed region.", [region])
}

findings contains plan.about(change, "lives in a region that is known only after apply.") if {
	some change in plan.touched_of("temporalcloud_namespace")
	plan.unknown(change, "regions")
}
