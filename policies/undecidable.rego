# METADATA
# scope: package
# title: Plan that cannot be judged
# description: >-
#   The rules rely on a complete, readable plan, and on their settings. Where something is missing
#   they would find nothing, which is not the same as finding that all is well. This is no rule
#   like the others: no setting lowers its level.
# custom:
#   remedy: Judge the real plan (`terraform show -json`), with complete settings.
package tprov.undecidable

about := [step | some step in rego.metadata.chain(); step.annotations.scope == "package"]

findings contains {"address": "", "message": message} if some message in unreadable

findings contains {"address": "", "message": message} if some message in unsettled

findings contains {"address": change.address, "message": message} if {
	some change in input.resource_changes
	walk(change, [path, value])
	value["$redacted"]
	hidden := concat(".", [sprintf("%v", [step]) | some step in path])
	message := sprintf("`%s` hides %s, and a rule may have to know it.", [change.address, hidden])
}

unreadable contains "This is not a plan in a format that the rules know (`format_version` 1.x)." if {
	not startswith(sprintf("%v", [object.get(plan, "format_version", "")]), "1.")
}

unreadable contains "The plan does not say when it was made (`timestamp`)." if {
	not is_string(object.get(plan, "timestamp", null))
}

unreadable contains "Terraform could not finish this plan (`errored`)." if {
	object.get(plan, "errored", true) != false
}

unreadable contains "The plan leaves changes for later, so they cannot be judged (`deferred_changes`)." if {
	count(input.deferred_changes) > 0
}

# Terraform leaves the list out where a configuration has no resources at all.
unreadable contains "The plan's changes are not a list (`resource_changes`)." if {
	not is_array(object.get(plan, "resource_changes", []))
}

unreadable contains message if {
	some position, change in input.resource_changes
	not well_formed(change)
	message := sprintf("The plan's change number %d lacks an address, a type, or actions that the rules know.", [position + 1])
}

well_formed(change) if {
	is_string(change.address)
	is_string(change.type)
	count(change.change.actions) > 0
	every action in change.change.actions {
		action in {"no-op", "create", "read", "update", "delete", "forget"}
	}
}

unsettled contains sprintf("The policies' settings are wrong: %s.", [problem.error]) if {
	[_, problems] := json.match_schema({"settings": settings}, schema)
	some problem in problems
}

unsettled contains sprintf("The policies' settings give a level to %q, which is no rule.", [name]) if {
	some name, _ in settings.levels
	not data.tprov.rules[name].about
}

default plan := {}

plan := input if is_object(input)

default settings := {}

settings := data.settings if is_object(data.settings)

schema := {"properties": {"settings": {
	"type": "object",
	"additionalProperties": false,
	"required": ["api_key_days", "levels", "mail_domains", "regions", "resource_types", "retention_days"],
	"properties": {
		"levels": {
			"type": "object",
			"additionalProperties": {"enum": ["advisory", "soft-mandatory", "hard-mandatory"]},
		},
		"regions": words,
		"mail_domains": words,
		"resource_types": words,
		"api_key_days": {"type": "integer", "minimum": 1},
		"retention_days": {
			"type": "object",
			"additionalProperties": false,
			"required": ["min", "max"],
			"properties": {"min": {"type": "number"}, "max": {"type": "number"}},
		},
	},
}}}

words := {"type": "array", "items": {"type": "string"}}
