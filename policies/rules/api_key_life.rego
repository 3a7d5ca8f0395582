# METADATA
# scope: package
# title: API key that lives too long
# description: >-
#   An API key expires within `api_key_days` (in the settings), counted from the plan's time.
# custom:
#   level: soft-mandatory
#   remedy: Set `expiry_time` to an earlier time, and rotate the key.
package tprov.rules.api_key_life

import data.tprov.plan

about := rego.metadata.chain()

findings contains plan.about(change, words) if {
	some change in plan.touched_of("temporalcloud_apikey")
	expiry := plan.text(change, "expiry_time")
	regex.match(utc, expiry)
	expiry > latest
	words := sprintf("expires at %s, more than %v days from now.", [expiry, data.settings.api_key_days])
}

findings contains plan.about(change, words) if {
	some change in plan.touched_of("temporalcloud_apikey")
	expiry := plan.text(change, "expiry_time")
	not regex.match(utc, expiry)
	words := sprintf("expires at %q, which is not a time like 2030-01-31T00:00:00Z.", [expiry])
}

findings contains plan.about(change, "expires at a time that is known only after apply.") if {
	some change in plan.touched_of("temporalcloud_apikey")
	plan.unknown(change, "expiry_time")
}

findings contains plan.about(change, "never expires.") if {
	some change in plan.touched_of("temporalcloud_apikey")
	not plan.known(change, "expiry_time")
	not plan.unknown(change, "expiry_time")
}

# Times are compared as text, which for UTC in this form is the same. No date is too far away for
# it, and 9999-12-31 is what people write when they mean never.
utc := `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z$`

# Undefined for a plan without its time, which nobody may apply (`undecidable`).
latest := time.format([last, "UTC", "2006-01-02T15:04:05Z"]) if {
	last := time.add_date(time.parse_rfc3339_ns(input.timestamp), 0, 0, data.settings.api_key_days)
}
