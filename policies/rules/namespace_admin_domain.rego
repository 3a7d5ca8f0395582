# METADATA
# scope: package
# title: Namespace administrator from elsewhere
# description: >-
#   Whoever has `admin` permission on a namespace has an address in one of our own mail domains
#   (`mail_domains` in the settings).
# custom:
#   level: soft-mandatory
#   remedy: Give `write` permission, or use an address in an allowed mail domain.
package tprov.rules.namespace_admin_domain

import data.tprov.plan

about := rego.metadata.chain()

findings contains plan.about(change, words) if {
	some change in namespace_admins
	email := plan.text(change, "email")
	not ours(email)
	words := sprintf("makes %s, who is in no allowed mail domain, a namespace administrator.", [email])
}

findings contains plan.about(change, words) if {
	some change in namespace_admins
	plan.unknown(change, "email")
	words := "makes somebody a namespace administrator whose address is known only after apply."
}

# Users only: nothing else has an address.
namespace_admins contains change if {
	some change in plan.touched_of("temporalcloud_user")
	some access in change.change.after.namespace_accesses
	lower(access.permission) == "admin"
}

# A permission that is not known yet may turn out to be that.
namespace_admins contains change if {
	some change in plan.touched_of("temporalcloud_user")
	permission_unknown(change.change.after_unknown.namespace_accesses)
}

# The whole set is unknown, an element of it, or an element's permission.
permission_unknown(accesses) if accesses == true

permission_unknown(accesses) if true in accesses

permission_unknown(accesses) if {
	some access in accesses
	access.permission == true
}

ours(email) if {
	[_, domain] := split(lower(email), "@")
	domain in data.settings.mail_domains
}
