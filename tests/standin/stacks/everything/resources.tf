variable "second" {
  type    = bool
  default = false
}
variable "ca" {
  type = string
}
variable "other_ca" {
  type = string
}

locals {
  suffix = var.second ? "second" : "first"
}

resource "temporalcloud_connectivity_rule" "public" {
  connectivity_type = "public"
}

resource "temporalcloud_connectivity_rule" "aws" {
  connectivity_type = "private"
  connection_id     = "vpce-12345678"
  region            = "aws-us-east-1"
}

resource "temporalcloud_connectivity_rule" "gcp" {
  connectivity_type = "private"
  connection_id     = "vpce-12345678"
  region            = "gcp-us-central1"
  gcp_project_id    = "my-project"
}

resource "temporalcloud_namespace" "keyed" {
  name                  = "keyed"
  regions               = ["aws-us-east-1", "aws-us-west-2"]
  retention_days        = var.second ? 14 : 7
  api_key_auth          = true
  connectivity_rule_ids = [temporalcloud_connectivity_rule.public.id, temporalcloud_connectivity_rule.aws.id]
  codec_server = {
    endpoint          = "https://codec.example.com/${local.suffix}"
    pass_access_token = true
  }
  namespace_lifecycle = var.second ? null : { enable_delete_protection = false }
  capacity            = var.second ? { mode = "provisioned", value = 2 } : { mode = "on_demand", value = null }
}

resource "temporalcloud_namespace" "certified" {
  name               = "certified"
  regions            = ["gcp-us-central1"]
  retention_days     = 30
  accepted_client_ca = var.ca
  certificate_filters = var.second ? [{ common_name = "worker" }] : [
    { common_name = "worker", organization = "acme" },
    { subject_alternative_name = "worker.example.com" },
  ]
}

resource "temporalcloud_namespace" "both" {
  name                = "both"
  regions             = ["aws-eu-west-1"]
  retention_days      = 1
  api_key_auth        = true
  accepted_client_ca  = var.ca
  namespace_lifecycle = var.second ? null : { enable_delete_protection = true }
}

resource "temporalcloud_namespace_search_attribute" "order" {
  namespace_id = temporalcloud_namespace.keyed.id
  name         = var.second ? "OrderNumber" : "OrderId"
  type         = "keyword"
}

resource "temporalcloud_namespace_search_attribute" "labels" {
  namespace_id = temporalcloud_namespace.both.id
  name         = "Labels"
  type         = "keyword_list"
}

resource "temporalcloud_namespace_tags" "keyed" {
  namespace_id = temporalcloud_namespace.keyed.id
  tags         = var.second ? { team = "orders", stage = "test" } : { team = "orders", cost = "low" }
}

resource "temporalcloud_user" "admin" {
  email          = "Grace.Hopper@example.com"
  account_access = var.second ? "admin" : "Developer"
}

resource "temporalcloud_user" "reader" {
  email          = "ada@example.com"
  account_access = "read"
  namespace_accesses = concat(
    [{ namespace_id = temporalcloud_namespace.keyed.id, permission = var.second ? "write" : "Read" }],
    var.second ? [{ namespace_id = temporalcloud_namespace.both.id, permission = "admin" }] : [],
  )
}

resource "temporalcloud_service_account" "ci" {
  name           = "ci"
  description    = "the ${local.suffix} pipeline"
  account_access = var.second ? "developer" : "admin"
}

resource "temporalcloud_service_account" "worker" {
  name = "worker"
  namespace_scoped_access = {
    namespace_id = temporalcloud_namespace.keyed.id
    permission   = var.second ? "read" : "write"
  }
}

resource "temporalcloud_apikey" "ci" {
  display_name = "ci-${local.suffix}"
  description  = "of the pipeline"
  owner_type   = "service-account"
  owner_id     = temporalcloud_service_account.ci.id
  expiry_time  = "2099-11-01T00:00:00Z"
  disabled     = var.second
}

resource "temporalcloud_apikey" "reader" {
  display_name = "reader"
  owner_type   = "user"
  owner_id     = temporalcloud_user.reader.id
  expiry_time  = "2099-11-01T00:00:00Z"
}

resource "temporalcloud_group" "ops" {
  name = "ops-${local.suffix}"
}

resource "temporalcloud_group" "idle" {
  name = "idle"
}

resource "temporalcloud_group_access" "ops" {
  id             = temporalcloud_group.ops.id
  account_access = var.second ? "none" : "developer"
  namespace_accesses = [
    { namespace_id = temporalcloud_namespace.keyed.id, permission = var.second ? "admin" : "read" },
  ]
}

resource "temporalcloud_group_access" "idle" {
  id             = temporalcloud_group.idle.id
  account_access = "none"
}

resource "temporalcloud_group_members" "ops" {
  group_id = temporalcloud_group.ops.id
  users    = var.second ? [temporalcloud_user.admin.id] : [temporalcloud_user.admin.id, temporalcloud_user.reader.id]
}

resource "temporalcloud_nexus_endpoint" "orders" {
  name        = "orders-${local.suffix}"
  description = "# Orders\n\nplaces and cancels them"
  worker_target = {
    namespace_id = temporalcloud_namespace.keyed.id
    task_queue   = "orders-${local.suffix}"
  }
  allowed_caller_namespaces = var.second ? [temporalcloud_namespace.both.id] : [
    temporalcloud_namespace.both.id, temporalcloud_namespace.certified.id,
  ]
}

resource "temporalcloud_namespace_export_sink" "s3" {
  namespace = temporalcloud_namespace.keyed.id
  sink_name = "to-s3"
  enabled   = !var.second
  s3 = {
    role_name      = "export"
    bucket_name    = "histories-${local.suffix}"
    region         = "us-east-1"
    aws_account_id = "123456789012"
    kms_arn        = "arn:aws:kms:us-east-1:123456789012:key/test"
  }
}

resource "temporalcloud_namespace_export_sink" "gcs" {
  namespace = temporalcloud_namespace.certified.id
  sink_name = "to-gcs"
  gcs = {
    bucket_name           = "histories-${local.suffix}"
    region                = "us-central1"
    service_account_email = "export@my-project.iam.gserviceaccount.com"
  }
}

resource "temporalcloud_account_audit_log_sink" "kinesis" {
  sink_name = "to-kinesis"
  enabled   = !var.second
  kinesis = {
    role_name       = "arn:aws:iam::123456789012:role/audit"
    destination_uri = "arn:aws:kinesis:us-east-1:123456789012:stream/${local.suffix}"
    region          = "us-east-1"
  }
}

resource "temporalcloud_account_audit_log_sink" "pubsub" {
  sink_name = "to-pubsub"
  pubsub = {
    service_account_id = "audit"
    topic_name         = "audit-${local.suffix}"
    gcp_project_id     = "my-project"
  }
}

resource "temporalcloud_metrics_endpoint" "metrics" {
  accepted_client_ca = var.second ? var.other_ca : var.ca
}
