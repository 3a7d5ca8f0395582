package tprov.rules.destroyed_by_change_test

import data.tprov.rules.destroyed_by_change as rule
import data.tprov.testkit as kit

said(change) := found if {
	found := kit.said(rule.findings) with input as kit.plan([change])
}

test_a_replacement_is_found_in_either_order if {
	every actions in {["delete", "create"], ["create", "delete"]} {
		said(kit.only(actions, "temporalcloud_namespace", {})) == {"`temporalcloud_namespace.this` is destroyed and made anew."}
	}
}

test_a_replacement_names_what_cannot_be_changed if {
	change := json.patch(kit.only(["delete", "create"], "temporalcloud_namespace", {}), [{
		"op": "add",
		"path": "/change/replace_paths",
		"value": [["name"], ["regions", 0]],
	}])
	said(change) == {"`temporalcloud_namespace.this` is destroyed and made anew, because its name and regions cannot be changed."}
}

test_what_left_the_configuration_is_found if {
	change := object.union(kit.only(["delete"], "temporalcloud_user", {}), {"action_reason": "delete_because_no_resource_config"})
	said(change) == {"`temporalcloud_user.this` is destroyed: the configuration no longer asks for it."}
}

test_destroying_on_request_is_left_to_the_other_rule if {
	said(kit.only(["delete"], "temporalcloud_namespace", {})) == set()
}

test_everything_else_passes if {
	said(kit.create("temporalcloud_namespace", {}, {})) == set()
	said(kit.update("temporalcloud_namespace", {}, {})) == set()
}
