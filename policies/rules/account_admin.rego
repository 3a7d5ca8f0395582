# METADATA
# scope: package
# title: Account-wide administrator
# description: >-
#   Whoever has `admin` or `owner` access to the account may do anything in every namespace, and
#   may invite others. That needs a person's word.
# custom:
#   level: soft-mandatory
#   remedy: Give `developer` access and a namespace permission.
package tprov.rules.account_admin

import data.tprov.plan

about := rego.metadata.chain()

# Whatever has a role on the account: a user, a service account, a group's access.
findings contains plan.about(change, words) if {
	some change in plan.touched
	role := lower(plan.text(change, "account_access"))
	role in {"admin", "owner"}
	words := sprintf("%s account-wide %s access.", [verb(change, role), role])
}

findings contains plan.about(change, "gets account access that is known only after apply.") if {
	some change in plan.touched
	plan.unknown(change, "account_access")
}

# Provider 1.5 and later: a role that somebody composed, of which a plan shows nothing but its id.
findings contains plan.about(change, "gets custom account roles, and no plan tells what they allow.") if {
	some change in plan.touched
	has_custom_roles(change)
}

has_custom_roles(change) if count(plan.known(change, "account_access_custom_roles")) > 0

has_custom_roles(change) if plan.unknown(change, "account_access_custom_roles")

verb(change, role) := "keeps" if {
	change.change.actions == ["update"]
	lower(change.change.before.account_access) == role
} else := "gets"
