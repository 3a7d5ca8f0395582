data "temporalcloud_regions" "all" {}

data "temporalcloud_namespaces" "all" {
  depends_on = [temporalcloud_namespace.keyed, temporalcloud_namespace.certified, temporalcloud_namespace.both]
}

data "temporalcloud_namespace" "keyed" {
  id         = temporalcloud_namespace.keyed.id
  depends_on = [temporalcloud_namespace_search_attribute.order, temporalcloud_namespace_tags.keyed]
}

data "temporalcloud_namespace" "certified" {
  id = temporalcloud_namespace.certified.id
}

data "temporalcloud_users" "all" {
  depends_on = [temporalcloud_user.admin, temporalcloud_user.reader]
}

data "temporalcloud_user" "reader" {
  id = temporalcloud_user.reader.id
}

data "temporalcloud_service_accounts" "all" {
  depends_on = [temporalcloud_service_account.ci, temporalcloud_service_account.worker]
}

data "temporalcloud_service_account" "worker" {
  id = temporalcloud_service_account.worker.id
}

data "temporalcloud_scim_group" "staff" {
  idp_id = "staff"
}

data "temporalcloud_connectivity_rule" "gcp" {
  id = temporalcloud_connectivity_rule.gcp.id
}

data "temporalcloud_nexus_endpoint" "orders" {
  id = temporalcloud_nexus_endpoint.orders.id
}

data "temporalcloud_nexus_endpoints" "all" {
  depends_on = [temporalcloud_nexus_endpoint.orders]
}

data "temporalcloud_account_audit_log_sink" "pubsub" {
  sink_name = temporalcloud_account_audit_log_sink.pubsub.sink_name
}

output "seen" {
  sensitive = true
  value = {
    regions          = length(data.temporalcloud_regions.all.regions)
    namespaces       = sort([for n in data.temporalcloud_namespaces.all.namespaces : n.name])
    namespace        = data.temporalcloud_namespace.keyed
    certified        = data.temporalcloud_namespace.certified
    users            = sort([for u in data.temporalcloud_users.all.users : u.email])
    user             = data.temporalcloud_user.reader
    service_accounts = sort([for s in data.temporalcloud_service_accounts.all.service_accounts : s.name])
    service_account  = data.temporalcloud_service_account.worker
    scim_group       = data.temporalcloud_scim_group.staff
    rule             = data.temporalcloud_connectivity_rule.gcp
    endpoint         = data.temporalcloud_nexus_endpoint.orders
    endpoints        = length(data.temporalcloud_nexus_endpoints.all.nexus_endpoints)
    audit_sink       = data.temporalcloud_account_audit_log_sink.pubsub
  }
}
