# METADATA
# title: What the policies' tests share
# description: >-
#   Plans in the form of `terraform show -json`, cut down to what the rules read. That real plans have
#   this form is tested elsewhere, over recorded ones.
package tprov.testkit

plan(changes) := {
	"format_version": "1.2",
	"timestamp": "2025-01-01T00:00:00Z",
	"errored": false,
	"resource_changes": changes,
}

# `temporalcloud_user.this` is created; what is not known yet is in `unknown`, as Terraform has it.
create(type, after, unknown) := {
	"address": sprintf("%s.this", [type]),
	"type": type,
	"change": {"actions": ["create"], "before": null, "after": after, "after_unknown": unknown},
}

update(type, before, after) := {
	"address": sprintf("%s.this", [type]),
	"type": type,
	"change": {"actions": ["update"], "before": before, "after": after, "after_unknown": {}},
}

# What only is done with it: `["delete"]`, `["no-op"]`, ...
only(actions, type, values) := {
	"address": sprintf("%s.this", [type]),
	"type": type,
	"change": {"actions": actions, "before": values, "after": values, "after_unknown": {}},
}

said(findings) := {finding.message | some finding in findings}

settings := {
	"levels": {},
	"regions": ["aws-eu-west-1", "aws-us-east-1"],
	"mail_domains": ["example.test"],
	"retention_days": {"min": 3, "max": 30},
	"api_key_days": 90,
	"resource_types": ["temporalcloud_namespace", "temporalcloud_user"],
}
