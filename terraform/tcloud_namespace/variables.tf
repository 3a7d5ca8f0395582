variable "name_prefix" {
  description = "What the namespace's name begins with; a suffix follows where there is one."
  type        = string
  default     = "tprov"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$", var.name_prefix))
    error_message = "Begin with a lower-case letter, go on with lower-case letters, digits and hyphens, do not end with a hyphen: at most 48 characters."
  }
}

variable "name_suffix" {
  description = "Makes the name unique. A run sets it (TF_VAR_name_suffix), each stack has its own."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[a-z0-9]{0,12}$", var.name_suffix))
    error_message = "At most 12 lower-case letters and digits."
  }
}

variable "regions" {
  description = "Where the namespace lives: one region, or two for high availability, such as aws-us-east-1."
  type        = list(string)
  default     = ["aws-us-east-1"]

  validation {
    condition     = contains([1, 2], length(var.regions))
    error_message = "Name one region, or two."
  }
}

variable "retention_days" {
  description = "For how many days Temporal Cloud keeps the history of a closed workflow."
  type        = number
  default     = 7

  validation {
    condition     = var.retention_days >= 1 && var.retention_days <= 90 && floor(var.retention_days) == var.retention_days
    error_message = "Temporal Cloud keeps histories for 1 to 90 whole days."
  }
}
