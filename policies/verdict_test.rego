package tprov_test

import data.tprov
import data.tprov.testkit as kit

admin := kit.plan([kit.create("temporalcloud_user", {"account_access": "admin"}, {})])

test_a_finding_carries_its_annotations if {
	found := tprov.verdict.findings with input as admin with data.settings as kit.settings
	found == {{
		"rule": "account_admin",
		"level": "soft-mandatory",
		"title": "Account-wide administrator",
		"address": "temporalcloud_user.this",
		"message": "`temporalcloud_user.this` gets account-wide admin access.",
		"remedy": "Give `developer` access and a namespace permission.",
	}}
}

test_the_settings_raise_and_lower_a_level if {
	every wanted in {"advisory", "hard-mandatory"} {
		settings := object.union(kit.settings, {"levels": {"account_admin": wanted}})
		verdict := tprov.verdict with input as admin with data.settings as settings
		verdict.levels.account_admin == wanted
		{finding.level | some finding in verdict.findings} == {wanted}
	}
}

test_without_settings_the_annotations_count_and_nothing_passes if {
	verdict := tprov.verdict with input as admin with data.settings as null
	verdict.levels.account_admin == "soft-mandatory"
	"hard-mandatory" in {finding.level | some finding in verdict.findings}
}

test_no_setting_lowers_what_cannot_be_judged if {
	settings := object.union(kit.settings, {"levels": {"undecidable": "advisory"}})
	found := tprov.verdict.findings with input as {} with data.settings as settings
	{finding.level | some finding in found} == {"hard-mandatory"}
	{finding.rule | some finding in found} == {"undecidable"}
}

test_a_rule_without_annotations_loses_no_finding if {
	verdict := tprov.verdict with input as admin
		with data.settings as kit.settings
		with data.tprov.rules.account_admin.about as []
	verdict.levels.account_admin == ""
	{[finding.level, finding.title, finding.remedy] | some finding in verdict.findings} == {["", "account_admin", ""]}
}

test_every_rule_has_a_level if {
	levels := tprov.verdict.levels with input as kit.plan([]) with data.settings as kit.settings
	count(levels) > 0
	every level in levels {
		level in {"advisory", "soft-mandatory", "hard-mandatory"}
	}
}
