output "namespace_id" {
  description = "The namespace's full name, <name>.<account>: what TEMPORAL_NAMESPACE wants."
  value       = temporalcloud_namespace.this.id
}

output "namespace_name" {
  description = "The namespace's name without the account."
  value       = temporalcloud_namespace.this.name
}

output "grpc_address" {
  description = "Where a worker with an API key connects to: what TEMPORAL_ADDRESS wants."
  value       = temporalcloud_namespace.this.endpoints.grpc_address
}
