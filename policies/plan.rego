# METADATA
# title: How to read a plan
# description: >-
#   Names for the questions that rules ask of `terraform show -json`. A planned attribute is in
#   one of three states, and a rule says what it thinks of each: known, decided only while the
#   plan is applied (`unknown`), or not set at all (neither of the two).
package tprov.plan

# METADATA
# description: >-
#   Resources that the plan creates or changes in place; a replacement is among them, for its
#   second half. What it only reads, imports as it is, moves, forgets or destroys is not.
touched contains change if {
	some change in input.resource_changes
	some action in change.change.actions
	action in {"create", "update"}
}

# METADATA
# description: The same, of one type only.
touched_of(type) := {change | some change in touched; change.type == type}

# METADATA
# description: An attribute's planned value; undefined when it is null, absent, or partly unknown.
known(change, name) := value if {
	value := change.change.after[name]
	value != null
	not unknown(change, name)
}

# METADATA
# description: The same where it is text; a value that was redacted is none.
text(change, name) := value if {
	value := known(change, name)
	is_string(value)
}

# METADATA
# description: An attribute of which all, or any part, is decided only while the plan is applied.
unknown(change, name) if walk(change.change.after_unknown[name], [_, true])

# METADATA
# description: A finding about one resource, in a sentence that begins with its address.
about(change, words) := {
	"address": change.address,
	"message": sprintf("`%s` %s", [change.address, words]),
}
