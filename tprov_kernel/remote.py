"""How to reach a Temporal server, as the environment says: by the description's names or the SDK's.

    TEMPORAL_HOST_URL        or TEMPORAL_ADDRESS             or `address` of the profile
    TEMPORAL_MTLS_TLS_CERT   or TEMPORAL_TLS_CLIENT_CERT_*   or its `tls.client_cert_*`
    TEMPORAL_MTLS_TLS_KEY    or TEMPORAL_TLS_CLIENT_KEY_*    or its `tls.client_key_*`
                                TEMPORAL_API_KEY             or its `api_key`
    TEMPORAL_NAMESPACE                                       or its `namespace`

The profile is that of `TEMPORAL_PROFILE`, else ``default``, in the `temporal.toml` of
`TEMPORAL_CONFIG_FILE`, else of the user's configuration. Two that contradict each other are refused
by name: nobody should wonder which server an apply went to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.envconfig import ClientConfigProfile, ClientConfigTLS

from tprov_kernel.errors import SettingsError
from tprov_kernel.settings import Source, stays_here
from tprov_kernel.unsaid import (
    ADDRESS,
    KEYS,
    NAMES,
    is_file,
    is_there,
    misread,
    no_address,
    no_file,
    refuse_secrets,
)

_TRUTHS = ("", "0", "1", "false", "true")


@dataclass(frozen=True, kw_only=True)
class Connection:
    """What was read, and from where.

    Attributes:
        sources: Field of `Settings` to where its value came from, in words; never a value.
    """

    address: str
    namespace: str
    tls: bool
    cert: Source | None = None
    key: Source | None = field(default=None, repr=False)
    ca: Source | None = None
    server_name: str = ""
    api_key: str = field(default="", repr=False)
    grpc_meta: Mapping[str, str] = field(default_factory=dict, repr=False)
    sources: Mapping[str, str]


def read_connection(environ: Mapping[str, str]) -> Connection:
    """Read it.

    Raises:
        SettingsError: Two names disagree, a file is missing, or nothing says where to connect.
    """
    profile = _profile(environ)
    told = _Told(environ)
    tls = profile.tls or ClientConfigTLS()
    _refuse_secrets(environ, profile, tls, told)
    ours = environ.get("TEMPORAL_HOST_URL", "")
    address = ours or profile.address or ""
    told.sources["address"] = "TEMPORAL_HOST_URL" if ours else told.by("TEMPORAL_ADDRESS")
    for name, value in (
        (told.sources["address"], address),
        (told.by("TEMPORAL_ADDRESS"), profile.address),
    ):
        if value and not ADDRESS.fullmatch(value):
            raise no_address(name, value)
    if ours and profile.address and ours != profile.address:
        other = told.by("TEMPORAL_ADDRESS")
        raise SettingsError(
            f"TEMPORAL_HOST_URL ({ours}) and {other} ({profile.address}) name two servers.",
            remedy=f"Unset TEMPORAL_HOST_URL, or take the other out of {other}."
            if "temporal.toml" in other
            else "Unset one of them.",
        )
    if not address:
        raise SettingsError(
            "Nothing says which Temporal server to use.",
            remedy="Set TEMPORAL_HOST_URL=<namespace>.<account>.tmprl.cloud:7233,"
            " or leave out --target remote to stay local.",
        )
    namespace = _namespace(profile, address)
    cert = told.either("TEMPORAL_MTLS_TLS_CERT", "TEMPORAL_TLS_CLIENT_CERT", tls.client_cert)
    key = told.either("TEMPORAL_MTLS_TLS_KEY", "TEMPORAL_TLS_CLIENT_KEY", tls.client_private_key)
    if (cert is None) != (key is None):
        there = told.sources["tls_cert" if cert is not None else "tls_key"]
        raise SettingsError(
            f"mTLS needs a certificate and its key; only one of the two is set ({there}).",
            remedy="Set both TEMPORAL_MTLS_TLS_CERT and TEMPORAL_MTLS_TLS_KEY.",
        )
    ca = told.either("", "TEMPORAL_TLS_SERVER_CA_CERT", tls.server_root_ca_cert)
    if tls.disabled and cert is not None:
        raise SettingsError(
            f"{told.by('TEMPORAL_TLS')} switches TLS off, and the certificate of"
            f" {told.sources['tls_cert']} needs it.",
            remedy="Unset one of the two.",
        )
    if tls.disabled and profile.api_key and not stays_here(address):
        raise SettingsError(
            f"{told.by('TEMPORAL_TLS')} switches TLS off, and the API key of"
            f" {told.by('TEMPORAL_API_KEY')} would be sent to {address} without encryption.",
            remedy="Unset TEMPORAL_TLS, or take `disabled` out of the profile's tls.",
        )
    wanted = cert is not None or bool(profile.api_key) or profile.tls is not None
    told.sources["namespace"] = told.by("TEMPORAL_NAMESPACE") if profile.namespace else "default"
    if profile.api_key:
        told.sources["api_key"] = told.by("TEMPORAL_API_KEY")
    if tls.disabled:
        told.sources["tls"] = told.by("TEMPORAL_TLS")
    elif wanted:
        told.sources["tls"] = told.sources.get("tls_cert") or told.sources.get(
            "api_key", told.by("TEMPORAL_TLS")
        )
    return Connection(
        address=address,
        namespace=namespace,
        tls=wanted and not tls.disabled,
        cert=cert,
        key=key,
        ca=ca,
        server_name=tls.server_name or "",
        api_key=profile.api_key or "",
        grpc_meta=dict(profile.grpc_meta),
        sources=told.sources,
    )


def names_a_server(environ: Mapping[str, str]) -> bool:
    """Whether a variable or a profile says where a Temporal server is.

    What contradicts itself does, too: it is refused where it is used.
    """
    try:
        return bool(environ.get("TEMPORAL_HOST_URL") or _profile(environ).address)
    except SettingsError:
        return True


def _profile(environ: Mapping[str, str]) -> ClientConfigProfile:
    named = environ.get("TEMPORAL_CONFIG_FILE", "")
    if named and not is_there(Path(named)):
        raise no_file("TEMPORAL_CONFIG_FILE", named)
    if environ.get("TEMPORAL_TLS", "false").lower() not in _TRUTHS:  # the SDK ignores others
        raise SettingsError(
            "TEMPORAL_TLS is neither true nor false.", remedy="Set TEMPORAL_TLS=true, or unset it."
        )
    try:
        return ClientConfigProfile.load(override_env_vars=dict(environ))
    except (RuntimeError, ValueError, TypeError) as error:
        wrong = error
    # Not within the block above: no traceback may show what the SDK said, it quotes the file.
    file = named or "your temporal.toml"
    raise misread(wrong, file, profile=environ.get("TEMPORAL_PROFILE", ""))


def _refuse_secrets(
    environ: Mapping[str, str], profile: ClientConfigProfile, tls: ClientConfigTLS, told: _Told
) -> None:
    names = [(name, environ.get(name, "")) for name in NAMES]
    names += [
        (f"The {what} ({told.by(variable)})", value or "")
        for what, variable, value in (
            ("namespace", "TEMPORAL_NAMESPACE", profile.namespace),
            ("server's name", "TEMPORAL_TLS_SERVER_NAME", tls.server_name),
        )
    ]
    keys = [(name, environ.get(name, "")) for name in KEYS]
    refuse_secrets(names, keys=[*keys, ("the API key", profile.api_key or "")])


def _namespace(profile: ClientConfigProfile, address: str) -> str:
    namespace = profile.namespace or "default"
    if address.split(":")[0].endswith(".tmprl.cloud") and "." not in namespace:
        raise SettingsError(
            f"The host {address} is a Temporal Cloud namespace, the namespace is {namespace!r}.",
            remedy="Set TEMPORAL_NAMESPACE=<namespace>.<account>, as in the host's name.",
        )
    return namespace


class _Told:
    """Remembers where each value came from."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.sources: dict[str, str] = {}

    def by(self, name: str) -> str:
        """The variable that says it, or the profile."""
        for variable in (name, f"{name}_PATH", f"{name}_DATA"):
            if self._environ.get(variable):
                return variable
        profile = self._environ.get("TEMPORAL_PROFILE") or "default"
        file = self._environ.get("TEMPORAL_CONFIG_FILE")
        return f"profile {profile} of {f'temporal.toml ({file})' if file else 'temporal.toml'}"

    def either(
        self, ours: str, theirs: str, theirs_says: Path | str | bytes | None
    ) -> Source | None:
        """A certificate or a key by our name or by the SDK's."""
        mine = self._file(ours)
        other = _source(theirs_says)
        if mine is not None and other is not None and _content(mine) != _content(other):
            raise SettingsError(
                f"{ours} and {self.by(theirs)} are two different ones.",
                remedy="Unset one of them.",
            )
        found = mine if mine is not None else other
        if found is not None:
            name = {"CERT": "tls_cert", "KEY": "tls_key"}.get(ours.rpartition("_")[2], "tls_ca")
            self.sources[name] = ours if mine is not None else self.by(theirs)
            if isinstance(found, Path) and not is_file(found):
                raise no_file(self.sources[name], found)
        return found

    def _file(self, name: str) -> Path | None:
        text = self._environ.get(name, "") if name else ""
        if not text:
            return None
        path = Path(text).expanduser()
        if not is_file(path):
            raise no_file(name, text)
        return path


def _source(given: Path | str | bytes | None) -> Source | None:
    if given is None or isinstance(given, Path | bytes):
        return given
    return given.encode()


def _content(source: Source) -> bytes:
    try:
        return source if isinstance(source, bytes) else source.read_bytes()
    except OSError:
        return str(source).encode()
