# METADATA
# scope: package
# title: Namespace without authentication
# description: >-
#   A namespace accepts API keys, or client certificates of a CA it was given, or both. Temporal
#   Cloud refuses one with neither, but only while the plan is applied.
# custom:
#   level: hard-mandatory
#   remedy: Set `api_key_auth = true`, or `accepted_client_ca`.
package tprov.rules.authentication

import data.tprov.plan

about := rego.metadata.chain()

findings contains plan.about(change, "has neither API-key nor mTLS authentication.") if {
	some change in plan.touched_of("temporalcloud_namespace")
	not api_keys(change)
	not client_certificates(change)
}

# The provider computes `api_key_auth` where a configuration says nothing, so that a plan shows
# 'known after apply' for a namespace that will have none. Only `true` counts.
api_keys(change) if plan.known(change, "api_key_auth") == true

client_certificates(change) if plan.known(change, "accepted_client_ca") != ""

# Nothing computes the CA: where it is unknown, the configuration gave one that is yet to be made.
client_certificates(change) if plan.unknown(change, "accepted_client_ca")
