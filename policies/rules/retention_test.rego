package tprov.rules.retention_test

import data.tprov.rules.retention
import data.tprov.testkit as kit

said(after, unknown) := found if {
	change := kit.create("temporalcloud_namespace", after, unknown)
	found := kit.said(retention.findings) with input as kit.plan([change]) with data.settings as kit.settings
}

test_the_bounds_themselves_pass if {
	said({"retention_days": 3}, {}) == set()
	said({"retention_days": 30}, {}) == set()
}

test_what_is_outside_is_found if {
	said({"retention_days": 2}, {}) == {"`temporalcloud_namespace.this` keeps histories for 2 days; the bounds are 3 and 30."}
	said({"retention_days": 31}, {}) == {"`temporalcloud_namespace.this` keeps histories for 31 days; the bounds are 3 and 30."}
}

test_an_unknown_time_is_found if {
	said({}, {"retention_days": true}) == {"`temporalcloud_namespace.this` keeps histories for a time that is known only after apply."}
}

test_only_namespaces_keep_histories if {
	change := kit.create("temporalcloud_user", {"retention_days": 99}, {})
	found := retention.findings with input as kit.plan([change]) with data.settings as kit.settings
	found == set()
}
