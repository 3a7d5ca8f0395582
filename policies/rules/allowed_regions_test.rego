package tprov.rules.allowed_regions_test

import data.tprov.rules.allowed_regions
import data.tprov.testkit as kit

said(after, unknown) := found if {
	change := kit.create("temporalcloud_namespace", after, unknown)
	found := kit.said(allowed_regions.findings) with input as kit.plan([change]) with data.settings as kit.settings
}

test_an_allowed_region_passes if {
	said({"regions": ["aws-eu-west-1"]}, {}) == set()
	said({"regions": ["aws-eu-west-1", "aws-us-east-1"]}, {"regions": [false, false]}) == set()
}

test_each_other_region_is_found if {
	said({"regions": ["aws-us-east-1", "gcp-us-central1"]}, {}) == {"`temporalcloud_namespace.this` lives in gcp-us-central1, which is not an allowed region."}
	count(said({"regions": ["aws-sa-east-1", "gcp-us-central1"]}, {})) == 2
}

test_an_unknown_region_is_found if {
	expected := {"`temporalcloud_namespace.this` lives in a region that is known only after apply."}
	said({}, {"regions": true}) == expected
	said({"regions": ["aws-us-east-1", null]}, {"regions": [false, true]}) == expected
}

test_a_namespace_that_stays_as_it_is_passes if {
	change := kit.only(["no-op"], "temporalcloud_namespace", {"regions": ["gcp-us-central1"]})
	found := allowed_regions.findings with input as kit.plan([change]) with data.settings as kit.settings
	found == set()
}
