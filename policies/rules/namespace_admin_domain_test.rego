package tprov.rules.namespace_admin_domain_test

import data.tprov.rules.namespace_admin_domain as rule
import data.tprov.testkit as kit

said(after, unknown) := found if {
	change := kit.create("temporalcloud_user", after, unknown)
	found := kit.said(rule.findings) with input as kit.plan([change]) with data.settings as kit.settings
}

admin := [{"namespace_id": "a.b", "permission": "Admin"}]

write := [{"namespace_id": "a.b", "permission": "write"}]

outsider := "`temporalcloud_user.this` makes eve@elsewhere.test, who is in no allowed mail domain, a namespace administrator."

test_an_outsider_is_found if {
	said({"email": "eve@elsewhere.test", "namespace_accesses": admin}, {}) == {outsider}
}

test_one_of_ours_passes if {
	said({"email": "Ada@Example.Test", "namespace_accesses": admin}, {}) == set()
}

test_a_domain_is_compared_as_a_whole if {
	every email in {"eve@evil-example.test", "eve@example.test.evil", "eve@evil@example.test", "eve"} {
		count(said({"email": email, "namespace_accesses": admin}, {})) == 1
	}
}

test_an_outsider_with_less_passes if {
	said({"email": "eve@elsewhere.test", "namespace_accesses": write}, {}) == set()
	said({"email": "eve@elsewhere.test", "namespace_accesses": null}, {}) == set()
	said({"email": "eve@elsewhere.test"}, {}) == set()
}

test_an_unknown_namespace_does_not_matter if {
	unknown := {"namespace_accesses": [{"namespace_id": true}]}
	said({"email": "eve@elsewhere.test", "namespace_accesses": [{"permission": "write"}]}, unknown) == set()
	said({"email": "eve@elsewhere.test", "namespace_accesses": [{"permission": "admin"}]}, unknown) == {outsider}
}

test_an_unknown_permission_counts_as_admin if {
	every unknown in {true, [true], [{"permission": true}]} {
		said({"email": "eve@elsewhere.test"}, {"namespace_accesses": unknown}) == {outsider}
		said({"email": "ada@example.test"}, {"namespace_accesses": unknown}) == set()
	}
}

test_an_unknown_address_is_found if {
	said({"namespace_accesses": admin}, {"email": true}) == {"`temporalcloud_user.this` makes somebody a namespace administrator whose address is known only after apply."}
	said({"namespace_accesses": write}, {"email": true}) == set()
}

test_a_service_account_has_no_address if {
	change := kit.create("temporalcloud_service_account", {"namespace_accesses": admin}, {"namespace_accesses": true})
	found := rule.findings with input as kit.plan([change]) with data.settings as kit.settings
	found == set()
}
