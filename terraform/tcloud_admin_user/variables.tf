variable "email" {
  description = "Whom to invite. On the real Temporal Cloud an invitation is sent there."
  type        = string
  default     = "grace@example.test"

  validation {
    condition     = can(regex("^[A-Za-z0-9._+-]+@[A-Za-z0-9-]+([.][A-Za-z0-9-]+)+$", var.email))
    error_message = "An e-mail address, such as grace@example.test."
  }
}

variable "name_suffix" {
  description = "Makes the address unique. A run sets it (TF_VAR_name_suffix), each stack has its own."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[a-z0-9]{0,12}$", var.name_suffix))
    error_message = "At most 12 lower-case letters and digits."
  }
}

variable "account_access" {
  description = "The user's role on the whole account; Temporal Cloud lets nobody create an owner."
  type        = string
  default     = "admin"

  validation {
    condition     = contains(["admin", "developer", "read", "financeadmin", "metricsread"], var.account_access)
    error_message = "One of admin, developer, read, financeadmin, metricsread."
  }
}
