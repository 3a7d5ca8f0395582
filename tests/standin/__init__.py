"""The Cloud API stand-in.

The provider's own acceptance tests can be run against it too (all of v1.3.0's 83 pass). Start a
stand-in with ``--scim tf-basic-scim-group=scim_test``, set ``TEMPORAL_CLOUD_API_KEY``,
``TEMPORAL_CLOUD_ENDPOINT`` and ``TEMPORAL_CLOUD_ALLOW_INSECURE=true``, and in a check-out of the
provider say ``TF_ACC=1 go test -parallel 8 ./internal/provider``.
"""
