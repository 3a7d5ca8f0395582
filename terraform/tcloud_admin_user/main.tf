terraform {
  required_version = ">= 1.9"

  required_providers {
    temporalcloud = {
      source  = "temporalio/temporalcloud"
      version = "~> 1.3"
    }
  }
}

# The API key comes from the environment (TEMPORAL_CLOUD_API_KEY), so it is in no file and no plan.
provider "temporalcloud" {}

locals {
  # grace@example.test with the suffix 7c2f is grace+7c2f@example.test: the same mailbox for most.
  mailbox = split("@", lower(var.email))
  address = join("+", compact([local.mailbox[0], var.name_suffix]))
}

# An administrator of the whole account: the policies let that pass only if a person approves it.
resource "temporalcloud_user" "admin" {
  email          = "${local.address}@${local.mailbox[1]}"
  account_access = var.account_access
}
