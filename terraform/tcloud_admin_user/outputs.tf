output "user_id" {
  description = "The user's id at Temporal Cloud."
  value       = temporalcloud_user.admin.id
}

output "user_email" {
  description = "Who was invited."
  value       = temporalcloud_user.admin.email
}

output "user_state" {
  description = "What Temporal Cloud says of the user, such as active."
  value       = temporalcloud_user.admin.state
}
