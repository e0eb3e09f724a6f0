"""Everything that a server is started from, and read again from on SIGHUP: as a whole, or not."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hazgate.bundle.bundle import bundle_digest
from hazgate.documents.problems import list_problems
from hazgate.errors import BundleError
from hazgate.gate import Gate
from hazgate.judge import Judge
from hazgate.serving.key_file import read_key_file
from hazgate.serving.keys import ApiKey
from hazgate.serving.settings import ServeSettings

# What a process has once: its sockets, its numbers of connections, its log.
_FIXED = (
    *("host", "port", "grpc_port", "workers", "max_connections", "max_calls", "max_streams"),
    *("trusted_proxies", "log_requests", "traces"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeOptions:
    """Options of the command line, which override the file whenever it is read; None does not."""

    host: str | None = None
    port: int | None = None
    grpc_port: int | None = None
    workers: int | None = None
    level: str | None = None
    policy: str | None = None
    exits: str | None = None

    def over(self, settings: ServeSettings) -> ServeSettings:
        """Return settings with these options in place of theirs."""
        top = {
            name: getattr(self, name)
            for name in ("host", "port", "grpc_port", "workers")
            if getattr(self, name) is not None
        }
        engine, policy = settings.engine, settings.policy
        if self.level is not None:
            engine = dataclasses.replace(engine, level=self.level)
        if self.exits is not None:
            engine = dataclasses.replace(engine, exits=self.exits)
        if self.policy is not None:
            policy = dataclasses.replace(policy, file=self.policy)
        return dataclasses.replace(settings, engine=engine, policy=policy, **top)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeInputs:
    """One reading of a source: settings, keys, and the digest of the bundle."""

    bundle: Path
    digest: str
    settings: ServeSettings
    keys: tuple[ApiKey, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeSource:
    """The places that a server is started from.

    Attributes:
        bundle: a bundle directory, or its reference on the Hub.
        config: a file of settings; None takes the defaults.
        options: override the settings.
        digest: the only bundle that may be served; None allows any.
    """

    bundle: Path
    config: Path | None = None
    options: ServeOptions = field(default_factory=ServeOptions)
    digest: str | None = None

    def read(self) -> ServeInputs:
        """Read settings, keys and the bundle's digest, once for all workers.

        Raises:
            BundleError: a file cannot be read or is wrong, or the bundle is another one.
        """
        given = ServeSettings() if self.config is None else ServeSettings.load(self.config)
        settings = self.options.over(given)
        digest = bundle_digest(self.bundle)
        check_digest(digest, self.digest)
        keys = settings.api_keys_file
        return ServeInputs(
            bundle=self.bundle,
            digest=digest,
            settings=settings,
            keys=read_key_file(Path(keys)) if keys else (),
        )


def check_digest(found: str, expected: str | None) -> None:
    """Check that a bundle is the one that was asked for.

    Raises:
        BundleError: it is another one.
    """
    if expected is not None and found != expected:
        raise BundleError(
            f"this is another bundle, with digest {found}; expected {expected}, which `hazgate "
            "info` shows of the right one"
        )


def check_tenants(judge: Judge, keys: Sequence[ApiKey]) -> None:
    """Check that the policies know every tenant that a key is bound to.

    Raises:
        BundleError: a key names others; names the keys and those tenants.
    """
    named = {key.name: key.tenants for key in keys if key.tenants is not None}
    policies = (judge.policy, judge.responses) if isinstance(judge, Gate) else ()
    known = [policy.tenants for policy in policies if policy is not None]
    problems = [
        f"keys.{name}: no policy has the tenant {tenant!r}"
        for name, tenants in named.items()
        for tenant in tenants
        if not known or any(tenant not in tenants_of_policy for tenants_of_policy in known)
    ]
    if problems:
        raise BundleError(f"the API keys do not fit the policies:{list_problems(problems)}")


def check_reloadable(old: ServeSettings, new: ServeSettings) -> None:
    """Check that a running server can take new settings.

    Raises:
        BundleError: some of what changed needs a new server; names all of it.
    """
    problems = list(_fixed_differences(old, new))
    if problems:
        raise BundleError(
            f"a running server cannot change these; start a new one:{list_problems(problems)}"
        )


def _fixed_differences(old: ServeSettings, new: ServeSettings) -> Iterator[str]:
    for name, then, now in (
        *((name, getattr(old, name), getattr(new, name)) for name in _FIXED),
        ("request.max_body_bytes", old.request.max_body_bytes, new.request.max_body_bytes),
        ("store.max_bytes", old.store.max_bytes, new.store.max_bytes),
        ("store.shared", old.store.shared, new.store.shared),
        ("engine.cache_entries", old.engine.cache_entries, new.engine.cache_entries),
    ):
        if then != now:
            yield f"{name}: {then} so far, {now} now"
    for name, then, now in (
        ("tls", old.tls, new.tls),
        ("api_keys_file", old.api_keys_file, new.api_keys_file),
    ):
        if (then is None) != (now is None):
            yield f"{name}: {'absent' if then is None else 'present'} so far, not so now"
