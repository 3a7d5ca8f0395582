package tprov.undecidable_test

import data.tprov.testkit as kit
import data.tprov.undecidable

said(plan) := found if {
	found := kit.said(undecidable.findings) with input as plan with data.settings as kit.settings
}

whole := kit.plan([kit.create("temporalcloud_user", {"account_access": "read"}, {"id": true})])

test_a_whole_plan_can_be_judged if said(whole) == set()

test_a_plan_without_resources_can_be_judged if said(object.remove(whole, ["resource_changes"])) == set()

test_what_is_no_plan_cannot if {
	every value in {"a plan", [], 1, null} {
		count(said(value)) == 3
	}
	count(said({})) == 3
}

test_another_format_cannot if {
	expected := {"This is not a plan in a format that the rules know (`format_version` 1.x)."}
	every version in {"2.0", "", 1, null} {
		said(object.union(whole, {"format_version": version})) == expected
	}
}

test_a_plan_without_its_time_cannot if {
	said(object.remove(whole, ["timestamp"])) == {"The plan does not say when it was made (`timestamp`)."}
}

test_an_unfinished_plan_cannot if {
	expected := {"Terraform could not finish this plan (`errored`)."}
	said(object.union(whole, {"errored": true})) == expected
	said(object.remove(whole, ["errored"])) == expected
}

test_deferred_changes_cannot if {
	said(object.union(whole, {"deferred_changes": [{"reason": "provider_config_unknown"}]})) == {"The plan leaves changes for later, so they cannot be judged (`deferred_changes`)."}
	said(object.union(whole, {"deferred_changes": []})) == set()
}

test_changes_that_are_no_list_cannot if {
	every value in {null, "none", {}} {
		said(object.union(whole, {"resource_changes": value})) == {"The plan's changes are not a list (`resource_changes`)."}
	}
}

test_a_change_of_unknown_form_cannot if {
	good := whole.resource_changes[0]
	every change in {
		1,
		{},
		object.remove(good, ["address"]),
		object.union(good, {"type": null}),
		object.union(good, {"change": {"actions": []}}),
		object.union(good, {"change": {"actions": ["create", "explode"]}}),
		object.remove(good, ["change"]),
	} {
		said(kit.plan([good, change])) == {"The plan's change number 2 lacks an address, a type, or actions that the rules know."}
	}
}

test_a_redacted_value_cannot_wherever_it_is if {
	change := kit.create("temporalcloud_user", {"account_access": {"$redacted": "string"}, "namespace_accesses": [{"permission": {"$redacted": "string"}}]}, {})
	said(kit.plan([change])) == {
		"`temporalcloud_user.this` hides change.after.account_access, and a rule may have to know it.",
		"`temporalcloud_user.this` hides change.after.namespace_accesses.0.permission, and a rule may have to know it.",
	}
}

test_missing_settings_are_said if {
	found := kit.said(undecidable.findings) with input as whole with data.settings as object.remove(kit.settings, ["regions"])
	found == {"The policies' settings are wrong: settings: regions is required."}
}

test_misspelt_settings_are_said if {
	found := kit.said(undecidable.findings) with input as whole with data.settings as object.union(kit.settings, {"api_key_weeks": 3})
	count(found) == 1
}

test_settings_of_the_wrong_kind_are_said if {
	every wrong in {
		{"levels": {"account_admin": "off"}},
		{"levels": []},
		{"regions": "aws-us-east-1"},
		{"api_key_days": "90"},
		{"retention_days": {"min": 1, "max": null}},
	} {
		found := undecidable.findings with input as whole with data.settings as object.union(kit.settings, wrong)
		count(found) > 0
	}
}

test_no_settings_at_all_are_said if {
	found := undecidable.findings with input as whole with data.settings as null
	count(found) > 0
}

test_a_level_for_no_rule_is_said if {
	every name in {"acount_admin", "undecidable"} {
		found := kit.said(undecidable.findings) with input as whole
			with data.settings as object.union(kit.settings, {"levels": {name: "advisory"}})
		found == {sprintf("The policies' settings give a level to %q, which is no rule.", [name])}
	}
}
