# What `make bench` has judged: 50 resources, half of which a person has to approve.

terraform {
  required_version = ">= 1.9"

  required_providers {
    temporalcloud = {
      source  = "temporalio/temporalcloud"
      version = "~> 1.3"
    }
  }
}

provider "temporalcloud" {}

variable "name_suffix" {
  description = "Makes the names unique. A run sets it (TF_VAR_name_suffix), each stack has its own."
  type        = string
  default     = ""
}

resource "temporalcloud_namespace" "many" {
  count          = 25
  name           = join("-", compact(["bench", count.index, var.name_suffix]))
  regions        = ["aws-us-east-1"]
  retention_days = 7
  api_key_auth   = true
}

resource "temporalcloud_user" "many" {
  count          = 25
  email          = "${join("+", compact(["bench", count.index, var.name_suffix]))}@example.test"
  account_access = "admin"
}
