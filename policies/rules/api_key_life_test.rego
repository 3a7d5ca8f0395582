package tprov.rules.api_key_life_test

import data.tprov.rules.api_key_life
import data.tprov.testkit as kit

# The plan is of 2025-01-01T00:00:00Z; 90 days later it is 2025-04-01.
said(after, unknown) := found if {
	change := kit.create("temporalcloud_apikey", after, unknown)
	found := kit.said(api_key_life.findings) with input as kit.plan([change]) with data.settings as kit.settings
}

test_ninety_days_pass if {
	said({"expiry_time": "2025-04-01T00:00:00Z"}, {}) == set()
	said({"expiry_time": "2025-03-31T23:59:59.5Z"}, {}) == set()
}

test_a_second_more_is_found if {
	said({"expiry_time": "2025-04-01T00:00:01Z"}, {}) == {"`temporalcloud_apikey.this` expires at 2025-04-01T00:00:01Z, more than 90 days from now."}
}

test_never_is_found if {
	count(said({"expiry_time": "9999-12-31T00:00:00Z"}, {})) == 1
	said({"expiry_time": null}, {}) == {"`temporalcloud_apikey.this` never expires."}
	said({}, {}) == {"`temporalcloud_apikey.this` never expires."}
}

test_what_is_no_time_is_found if {
	every text in {"", "tomorrow", "2025-01-02", "2025-01-02T00:00:00", "2025-01-02T00:00:00+01:00", "20250-01-02T00:00:00Z"} {
		said({"expiry_time": text}, {}) == {sprintf("`temporalcloud_apikey.this` expires at %q, which is not a time like 2030-01-31T00:00:00Z.", [text])}
	}
}

test_an_unknown_time_is_found if {
	said({}, {"expiry_time": true}) == {"`temporalcloud_apikey.this` expires at a time that is known only after apply."}
}

test_the_days_are_a_setting if {
	change := kit.create("temporalcloud_apikey", {"expiry_time": "2025-01-09T00:00:00Z"}, {})
	found := api_key_life.findings with input as kit.plan([change]) with data.settings.api_key_days as 7
	count(found) == 1
}
