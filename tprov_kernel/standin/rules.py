"""What the real service would refuse: the field rules of every family, in one place.

A refusal names the field as the API spells it. Where a limit comes from: the messages' own
documentation in the temporalio wheel (`message_pb2.pyi`), https://docs.temporal.io/cloud/limits,
or the provider's schema; rules marked *(guess)* are what the real service most likely does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NoReturn

from google.protobuf.message import Message
from grpc import StatusCode
from temporalio.api.cloud.account.v1 import message_pb2 as account
from temporalio.api.cloud.connectivityrule.v1 import message_pb2 as connectivityrule
from temporalio.api.cloud.identity.v1 import message_pb2 as identity
from temporalio.api.cloud.namespace.v1 import message_pb2 as namespace

NAMESPACE_NAME = re.compile(r"[a-z][a-z0-9-]*[a-z0-9]")
ENDPOINT_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*[a-zA-Z0-9]")
ATTRIBUTE_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_ .-]*")
TAG_KEY = re.compile(r"[a-z0-9][a-z0-9._@-]*")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
CODEC_ENDPOINT = re.compile(r"https://|http://(localhost|127\.0\.0\.1)[:/]")
PEM = b"-----BEGIN CERTIFICATE-----"

RETENTION_DAYS = range(1, 91)
MOST_CERTIFICATES = 16
MOST_CERTIFICATE_BYTES = 32 * 1024
MOST_FILTERS = 25
MOST_TAGS = 10
_Type = namespace.NamespaceSpec.SearchAttributeType
MOST_ATTRIBUTES = {
    _Type.SEARCH_ATTRIBUTE_TYPE_TEXT: 5,
    _Type.SEARCH_ATTRIBUTE_TYPE_KEYWORD: 40,
    _Type.SEARCH_ATTRIBUTE_TYPE_INT: 20,
    _Type.SEARCH_ATTRIBUTE_TYPE_DOUBLE: 20,
    _Type.SEARCH_ATTRIBUTE_TYPE_BOOL: 20,
    _Type.SEARCH_ATTRIBUTE_TYPE_DATETIME: 20,
    _Type.SEARCH_ATTRIBUTE_TYPE_KEYWORD_LIST: 5,
}


class Refused(Exception):
    """The call is refused: a gRPC status and a sentence."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(field: str, why: str) -> NoReturn:
    """Refuse a field's value."""
    raise Refused(StatusCode.INVALID_ARGUMENT, f"{field} {why}.")


def not_now(why: str) -> NoReturn:
    """Refuse what the state of things does not allow."""
    raise Refused(StatusCode.FAILED_PRECONDITION, f"{why}.")


def not_found(what: str, id: str) -> NoReturn:
    """Refuse, because there is no such thing."""
    raise Refused(StatusCode.NOT_FOUND, f"There is no {what} {id!r}.")


# --- simple values ---------------------------------------------------------------------------


def given(field: str, value: str) -> None:
    """A text that must be there."""
    if not value.strip():
        invalid(field, "is required")


def named(field: str, value: str, *, most: int = 64) -> None:
    """A display name: required, and not endless."""
    given(field, value)
    if len(value) > most:
        invalid(field, f"must have at most {most} characters, it has {len(value)}")


def matches(field: str, value: str, pattern: re.Pattern[str], *, least: int, most: int) -> None:
    """A name with a pattern and a length."""
    if not least <= len(value) <= most:
        invalid(field, f"must have {least} to {most} characters, {value!r} has {len(value)}")
    if not pattern.fullmatch(value):
        invalid(field, f"must match ^{pattern.pattern}$, {value!r} does not")


def email(field: str, value: str) -> None:
    """Something that can be an e-mail address."""
    given(field, value)
    if not EMAIL.fullmatch(value):
        invalid(field, f"must be an e-mail address, {value!r} is none")


def exactly_one(message: Message, where: str, *fields: str) -> str:
    """One of these fields, and not two; gives which."""
    have = [f for f in fields if message.HasField(f)]
    if len(have) != 1:
        invalid(where, f"must have exactly one of {' and '.join(fields)}, it has {len(have)}")
    return have[0]


def all_given(message: Message, where: str, *fields: str) -> None:
    """Texts that must all be there."""
    for field in fields:
        given(f"{where}.{field}", getattr(message, field))


def unchanged(field: str, before: object, after: object) -> None:
    """A field that cannot be changed once it is set."""
    if before != after:
        invalid(field, f"cannot be changed; it is {before!r}")


def version(kind: str, current: str, given: str) -> None:
    """The caller must have seen the latest version."""
    if not given:
        invalid("resource_version", "is required")
    if current != given:
        not_now(
            f"resource_version {given!r} is not the current version of the {kind}, read it again"
        )


# --- namespaces ------------------------------------------------------------------------------


def namespace_spec(spec: namespace.NamespaceSpec, *, known_regions: Collection[str]) -> None:
    """The fields of a namespace that can be judged without looking at anything else."""
    matches("spec.name", spec.name, NAMESPACE_NAME, least=2, most=64)
    if spec.retention_days not in RETENTION_DAYS:
        invalid("spec.retention_days", f"must be 1 to 90, it is {spec.retention_days}")
    regions(spec.regions, known=known_regions)
    if not spec.api_key_auth.enabled and not spec.mtls_auth.enabled:
        invalid("spec.mtls_auth.enabled or spec.api_key_auth.enabled", "must be true")
    if spec.mtls_auth.enabled:
        certificates("spec.mtls_auth.accepted_client_ca", spec.mtls_auth.accepted_client_ca)
    certificate_filters(spec.mtls_auth.certificate_filters)
    search_attributes(spec.search_attributes)
    endpoint = spec.codec_server.endpoint
    if endpoint and not CODEC_ENDPOINT.match(endpoint):
        invalid("spec.codec_server.endpoint", f"must start with https://, it is {endpoint!r}")
    if spec.capacity_spec.HasField("provisioned") and spec.capacity_spec.provisioned.value <= 0:
        invalid("spec.capacity_spec.provisioned.value", "must be greater than zero")


def regions(names: Iterable[str], *, known: Collection[str]) -> None:
    """One or two regions that exist; the same one twice is a replica in the same region."""
    chosen = list(names)
    if not 1 <= len(chosen) <= 2:
        invalid("spec.regions", f"must have one or two regions, it has {len(chosen)}")
    for name in chosen:
        if name not in known:
            invalid("spec.regions", f"must be regions of Temporal Cloud, {name!r} is none")


def certificates(field: str, pem: bytes) -> None:
    """CA certificates: there, in PEM, within the limits; neither parsed nor judged by date."""
    if not pem.strip():
        invalid(field, "is required")
    if PEM not in pem:
        invalid(field, "must be certificates in PEM format")
    if pem.count(PEM) > MOST_CERTIFICATES or len(pem) > MOST_CERTIFICATE_BYTES:
        invalid(field, f"must be at most {MOST_CERTIFICATES} certificates and 32 KB")


def certificate_filters(filters: Collection[namespace.CertificateFilterSpec]) -> None:
    """At most 25, none of them empty."""
    if len(filters) > MOST_FILTERS:
        invalid("spec.mtls_auth.certificate_filters", f"must be at most {MOST_FILTERS}")
    for at, one in enumerate(filters):
        if not one.ByteSize():
            invalid(f"spec.mtls_auth.certificate_filters[{at}]", "must not be empty")


def search_attributes(attributes: Mapping[str, int]) -> None:
    """Names, types, and how many there may be of each type."""
    for name, kind in attributes.items():
        attribute_name("spec.search_attributes", name)
        if kind not in MOST_ATTRIBUTES:
            invalid(f"spec.search_attributes[{name!r}]", "has no type that exists")
    for kind, most in MOST_ATTRIBUTES.items():
        count = sum(1 for k in attributes.values() if k == kind)
        if count > most:
            invalid("spec.search_attributes", f"can have at most {most} of {_Type.Name(kind)}")


def attribute_name(field: str, name: str) -> None:
    """A search attribute's name."""
    matches(field, name, ATTRIBUTE_NAME, least=1, most=64)
    if name.startswith(("Temporal", "temporal_")):
        invalid(field, f"must not begin with 'Temporal', {name!r} does")


def search_attributes_kept(before: Mapping[str, int], after: Mapping[str, int]) -> None:
    """A search attribute is neither deleted nor changed in type."""
    for name, kind in before.items():
        if name not in after:
            invalid("spec.search_attributes", f"cannot lose {name!r}: deleting is not supported")
        if after[name] != kind:
            invalid(f"spec.search_attributes[{name!r}]", "cannot change its type")


def tags(tags: Mapping[str, str]) -> None:
    """Keys, values, and how many *(guess: 10, 63 characters)*."""
    for key, value in tags.items():
        matches("tags", key, TAG_KEY, least=1, most=63)
        if not 1 <= len(value) <= 63:
            invalid(f"tags[{key!r}]", "must have 1 to 63 characters")
    if len(tags) > MOST_TAGS:
        invalid("tags", f"must be at most {MOST_TAGS}")


# --- access ----------------------------------------------------------------------------------

ADMINS = (identity.AccountAccess.ROLE_OWNER, identity.AccountAccess.ROLE_ADMIN)


def access(field: str, access: identity.Access, *, role_required: bool = True) -> None:
    """An account role, and permissions on namespaces for those who are not admins anyway."""
    role = access.account_access.role
    if role == identity.AccountAccess.ROLE_OWNER:
        invalid(f"{field}.account_access.role", "cannot be owner: Temporal support makes owners")
    if role not in identity.AccountAccess.Role.values():
        invalid(f"{field}.account_access.role", "is no role")
    if not role and role_required and not access.account_access.custom_roles:
        invalid(f"{field}.account_access.role", "is required")
    if access.namespace_accesses and role in ADMINS:
        invalid(f"{field}.namespace_accesses", "must be empty: an admin can use every namespace")
    for name, one in access.namespace_accesses.items():
        permission(f"{field}.namespace_accesses[{name!r}]", one)


def permission(field: str, access: identity.NamespaceAccess) -> None:
    """One of admin, write, read."""
    if access.permission not in identity.NamespaceAccess.Permission.values()[1:]:
        invalid(f"{field}.permission", "must be admin, write or read")


def custom_role(spec: identity.CustomRoleSpec) -> None:
    """A name, and permissions that say what they are about."""
    named("spec.name", spec.name)
    for at, one in enumerate(spec.permissions):
        given(f"spec.permissions[{at}].resources.resource_type", one.resources.resource_type)
        if not one.actions:
            invalid(f"spec.permissions[{at}].actions", "must not be empty")


# --- connectivity and sinks ------------------------------------------------------------------


def connectivity(
    spec: connectivityrule.ConnectivityRuleSpec, *, known_regions: Collection[str]
) -> None:
    """Public, or private with all that its cloud needs."""
    if exactly_one(spec, "spec", "public_rule", "private_rule") == "public_rule":
        return
    rule = spec.private_rule
    all_given(rule, "spec.private_rule", "connection_id", "region")
    if rule.region not in known_regions:
        invalid("spec.private_rule.region", f"must be a region, {rule.region!r} is none")
    if rule.region.startswith("gcp-"):
        given("spec.private_rule.gcp_project_id", rule.gcp_project_id)


def export_sink(spec: namespace.ExportSinkSpec) -> None:
    """A name, and one destination with all that it needs."""
    named("spec.name", spec.name)
    if exactly_one(spec, "spec", "s3", "gcs") == "s3":
        all_given(spec.s3, "spec.s3", "role_name", "bucket_name", "region", "aws_account_id")
    else:
        all_given(spec.gcs, "spec.gcs", "sa_id", "bucket_name", "gcp_project_id", "region")


def audit_sink(spec: account.AuditLogSinkSpec) -> None:
    """A name, and one destination with all that it needs."""
    named("spec.name", spec.name)
    if exactly_one(spec, "spec", "kinesis_sink", "pub_sub_sink") == "kinesis_sink":
        all_given(spec.kinesis_sink, "spec.kinesis_sink", "role_name", "destination_uri", "region")
    else:
        all_given(
            spec.pub_sub_sink,
            "spec.pub_sub_sink",
            "service_account_id",
            "topic_name",
            "gcp_project_id",
        )
