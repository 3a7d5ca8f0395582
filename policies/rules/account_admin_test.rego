package tprov.rules.account_admin_test

import data.tprov.rules.account_admin
import data.tprov.testkit as kit

said(change) := found if {
	found := kit.said(account_admin.findings) with input as kit.plan([change])
}

test_a_new_admin_is_found if {
	found := account_admin.findings with input as kit.plan([kit.create("temporalcloud_user", {"account_access": "admin"}, {"id": true})])
	found == {{
		"address": "temporalcloud_user.this",
		"message": "`temporalcloud_user.this` gets account-wide admin access.",
	}}
}

test_an_owner_is_found_however_it_is_written if {
	said(kit.create("temporalcloud_user", {"account_access": "Owner"}, {})) == {"`temporalcloud_user.this` gets account-wide owner access."}
}

test_service_accounts_and_groups_have_account_access_too if {
	every type in {"temporalcloud_service_account", "temporalcloud_group_access"} {
		count(said(kit.create(type, {"account_access": "admin"}, {}))) == 1
	}
}

test_a_promotion_is_found if {
	said(kit.update("temporalcloud_user", {"account_access": "read"}, {"account_access": "admin"})) == {"`temporalcloud_user.this` gets account-wide admin access."}
}

test_a_changed_admin_keeps_it if {
	said(kit.update("temporalcloud_user", {"account_access": "Admin"}, {"account_access": "admin"})) == {"`temporalcloud_user.this` keeps account-wide admin access."}
}

test_a_replaced_admin_gets_it_anew if {
	said(kit.only(["delete", "create"], "temporalcloud_user", {"account_access": "admin"})) == {"`temporalcloud_user.this` gets account-wide admin access."}
}

test_lesser_roles_pass if {
	every role in {"developer", "read", "financeadmin", "metricsread", "none"} {
		said(kit.create("temporalcloud_user", {"account_access": role}, {})) == set()
	}
}

test_a_demotion_passes if {
	said(kit.update("temporalcloud_user", {"account_access": "admin"}, {"account_access": "read"})) == set()
}

test_what_does_not_change_passes if {
	every actions in {["no-op"], ["delete"], ["forget"]} {
		said(kit.only(actions, "temporalcloud_user", {"account_access": "admin"})) == set()
	}
}

test_an_unknown_role_is_found if {
	said(kit.create("temporalcloud_user", {}, {"account_access": true})) == {"`temporalcloud_user.this` gets account access that is known only after apply."}
}

test_no_role_is_no_finding if {
	said(kit.create("temporalcloud_service_account", {"account_access": null}, {"account_access": false})) == set()
	said(kit.create("temporalcloud_namespace", {"name": "a"}, {})) == set()
}

test_custom_roles_are_found if {
	expected := {"`temporalcloud_user.this` gets custom account roles, and no plan tells what they allow."}
	said(kit.create("temporalcloud_user", {"account_access_custom_roles": ["r1"]}, {})) == expected
	said(kit.create("temporalcloud_user", {}, {"account_access_custom_roles": [true]})) == expected
	said(kit.create("temporalcloud_user", {"account_access_custom_roles": []}, {})) == set()
	said(kit.create("temporalcloud_user", {"account_access_custom_roles": null}, {})) == set()
}
