# What `make bench` provisions: a namespace, and a developer who may write in it.

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

resource "temporalcloud_namespace" "this" {
  name           = join("-", compact(["bench", var.name_suffix]))
  regions        = ["aws-us-east-1"]
  retention_days = 7
  api_key_auth   = true
}

resource "temporalcloud_user" "developer" {
  email          = "${join("+", compact(["bench", var.name_suffix]))}@example.test"
  account_access = "developer"

  namespace_accesses = [{
    namespace_id = temporalcloud_namespace.this.id
    permission   = "write"
  }]
}

output "namespace_id" {
  description = "The namespace's full name, <name>.<account>."
  value       = temporalcloud_namespace.this.id
}

output "user_id" {
  description = "The user's id at Temporal Cloud."
  value       = temporalcloud_user.developer.id
}
