package tprov.rules.authentication_test

import data.tprov.rules.authentication
import data.tprov.testkit as kit

said(after, unknown) := found if {
	change := kit.create("temporalcloud_namespace", after, unknown)
	found := kit.said(authentication.findings) with input as kit.plan([change])
}

neither := {"`temporalcloud_namespace.this` has neither API-key nor mTLS authentication."}

test_one_of_the_two_is_enough if {
	said({"api_key_auth": true, "accepted_client_ca": null}, {}) == set()
	said({"api_key_auth": false, "accepted_client_ca": "TUlJ"}, {}) == set()
	said({"accepted_client_ca": "TUlJ"}, {"api_key_auth": true}) == set()
}

test_neither_is_found if {
	said({"api_key_auth": false, "accepted_client_ca": null}, {}) == neither
	said({"api_key_auth": false, "accepted_client_ca": ""}, {}) == neither
	said({}, {}) == neither
}

test_an_unknown_api_key_auth_does_not_count if {
	said({"accepted_client_ca": null}, {"api_key_auth": true}) == neither
}

test_a_ca_that_is_yet_to_be_made_counts if {
	said({}, {"accepted_client_ca": true, "api_key_auth": true}) == set()
}

test_taking_authentication_away_is_found if {
	change := kit.update("temporalcloud_namespace", {"api_key_auth": true}, {"api_key_auth": false, "accepted_client_ca": null})
	found := kit.said(authentication.findings) with input as kit.plan([change])
	found == neither
}
