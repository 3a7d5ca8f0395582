package tprov.rules.destroyed_test

import data.tprov.rules.destroyed
import data.tprov.testkit as kit

said(change) := found if {
	found := kit.said(destroyed.findings) with input as kit.plan([change])
}

test_what_the_run_is_for_is_said if {
	said(kit.only(["delete"], "temporalcloud_namespace", {})) == {"`temporalcloud_namespace.this` is destroyed."}
}

test_what_a_change_destroys_is_left_to_the_other_rule if {
	said(object.union(kit.only(["delete"], "temporalcloud_user", {}), {"action_reason": "delete_because_no_resource_config"})) == set()
	said(kit.only(["delete", "create"], "temporalcloud_user", {})) == set()
}

test_what_is_forgotten_is_said if {
	said(kit.only(["forget"], "temporalcloud_user", {})) == {"`temporalcloud_user.this` goes on to exist, but Terraform manages it no longer."}
}

test_everything_else_passes if {
	said(kit.create("temporalcloud_namespace", {}, {})) == set()
	said(kit.only(["no-op"], "temporalcloud_namespace", {})) == set()
}
