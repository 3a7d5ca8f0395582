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

resource "temporalcloud_namespace" "this" {
  name           = join("-", compact([var.name_prefix, var.name_suffix]))
  regions        = var.regions
  retention_days = var.retention_days
  api_key_auth   = true
}
