package tprov.rules.resource_types_test

import data.tprov.rules.resource_types
import data.tprov.testkit as kit

said(plan) := found if {
	found := kit.said(resource_types.findings) with input as plan with data.settings as kit.settings
}

test_an_allowed_type_passes if {
	said(kit.plan([kit.create("temporalcloud_namespace", {}, {})])) == set()
}

test_another_type_is_found if {
	said(kit.plan([kit.create("terraform_data", {}, {})])) == {"`terraform_data.this` is a terraform_data, which is not an allowed type."}
	count(said(kit.plan([kit.update("terraform_data", {}, {})]))) == 1
	count(said(kit.plan([kit.only(["delete", "create"], "terraform_data", {})]))) == 1
}

test_getting_rid_of_one_passes if {
	every actions in {["delete"], ["forget"], ["no-op"]} {
		said(kit.plan([kit.only(actions, "terraform_data", {})])) == set()
	}
}

test_a_data_source_that_waits_for_the_apply_comes_from_temporal_cloud if {
	said(kit.plan([kit.only(["read"], "temporalcloud_regions", {})])) == set()
	said(kit.plan([kit.only(["read"], "external", {})])) == {"`external.this` reads a external, which does not come from Temporal Cloud."}
}

test_an_action_is_found if {
	plan := object.union(kit.plan([]), {"action_invocations": [{"address": "action.local_command.run", "type": "local_command"}]})
	said(plan) == {"`action.local_command.run` is an action, and no rule can tell what it does."}
}
