# Two objects, one after the other; the second one needs a human.
terraform {
  required_providers {
    temporalcloud = {
      source  = "temporalio/temporalcloud"
      version = "~> 1.3"
    }
  }
}

variable "name_suffix" {
  type = string
}

resource "temporalcloud_namespace" "first" {
  name           = "chaos-${var.name_suffix}"
  regions        = ["aws-us-east-1"]
  retention_days = 7
  api_key_auth   = true
}

resource "temporalcloud_user" "second" {
  email          = "chaos+${var.name_suffix}@example.test"
  account_access = "admin"
  depends_on     = [temporalcloud_namespace.first]
}

output "namespace" {
  value = temporalcloud_namespace.first.id
}

output "user" {
  value = temporalcloud_user.second.id
}
