"""Checks that a host can serve a bundle, each with its finding and its cure."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from hazgate.bundle.bundle import Bundle
from hazgate.engine.canaries import check_canaries, tolerance_of
from hazgate.engine.engine import Engine, canaries_of
from hazgate.engine.exit_audit import OpenExits
from hazgate.engine.exit_files import check_takes_exits, open_exits
from hazgate.engine.exits import Exits
from hazgate.engine.kernels import instruction_set, kernels_library
from hazgate.engine.options import EngineOptions
from hazgate.engine.providers.choose import choose_placement, host_problems
from hazgate.engine.providers.host import Host
from hazgate.engine.session import OrtSession, ort_host
from hazgate.engine.variants import choose_variant
from hazgate.errors import HazgateError
from hazgate.judging.early import uncalibrated
from hazgate.judging.judgement import threshold_terms
from hazgate.text.languages import finding, is_installed

Status = Literal["ok", "warn", "fail"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check: what was found, and the cure if something is wrong."""

    name: str
    status: Status
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """All checks that could be made, in order; those that depend on a failed one are missing."""

    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """True if nothing failed."""
        return all(check.status != "fail" for check in self.checks)


def diagnose(
    path: Path,
    options: EngineOptions,
) -> Diagnosis:
    """Open the bundle as a gate does, step by step, and prove each step.

    Each of hazgate's errors becomes a failed check; none is raised.
    """
    found: list[Check] = []

    def attempt(name: str, do: Callable[[], T], say: Callable[[T], str]) -> T | None:
        try:
            value = do()
        except HazgateError as error:
            found.append(Check(name=name, status="fail", found=str(error)))
            return None
        found.append(Check(name=name, status="ok", found=say(value)))
        return value

    bundle = attempt(
        "bundle",
        lambda: Bundle.open(path),
        lambda b: f"{b.manifest.name}, {len(b.manifest.files)} files as listed, {b.digest[:12]}",
    )
    host = attempt(
        "onnxruntime",
        ort_host,
        lambda h: f"{h.ort_version} with {', '.join(h.built_in)}",
    )
    if host is None:
        return Diagnosis(checks=tuple(found))
    found += _host_checks(host)
    placement = attempt(
        "provider",
        lambda: choose_placement(options.providers, host, device_id=options.device_id),
        lambda p: p.spec.name + (f" on {p.gfx}, device {p.device_id}" if p.gfx else ""),
    )
    if bundle is None or placement is None:
        return Diagnosis(checks=tuple(found))
    name = attempt(
        "variant",
        lambda: choose_variant(bundle.manifest, options.variant, placement.spec),
        lambda chosen: f"{chosen} of {', '.join(_variants(bundle))}",
    )
    if name is None:
        return Diagnosis(checks=tuple(found))
    if any(level.variants[name].kind == "fused" for level in bundle.manifest.levels.values()):
        attempt("kernels", kernels_library, lambda found: f"{instruction_set()}, {found.name}")
    found += _language_checks(bundle)
    if options.exits.file is not None and not attempt(
        "probe file",
        lambda: check_takes_exits(bundle, name, options.exits),
        lambda file: f"{file} in place of the bundle's",
    ):
        return Diagnosis(checks=tuple(found))
    engine = Engine.of(options, host)
    for body in bundle.manifest.bodies():
        found += _body_checks(bundle, body, name, engine, attempt)
    return Diagnosis(checks=tuple(found))


def _host_checks(host: Host) -> Iterator[Check]:
    problems = host_problems(host)
    listed = ", ".join(f"{name} {version}" for name, version in host.distributions.items())
    yield Check(
        name="distributions",
        status="fail" if problems else "ok",
        found="; ".join(problems) or listed,
    )
    gpus = ", ".join(host.amd_gpus) or "none"
    yield Check(name="AMD GPUs", status="ok", found=f"{gpus}; ROCm {host.rocm or 'none'}")
    if host.environment:
        yield Check(
            name="environment",
            status="warn",
            found=f"{', '.join(host.environment)} are set; programs compiled with them are kept "
            "apart, and those that override a session's options are refused",
        )


def _language_checks(bundle: Bundle) -> Iterator[Check]:
    languages = bundle.manifest.languages
    if languages is not None:
        yield Check(
            name="languages",
            status="ok" if is_installed() else "warn",
            found=f"{', '.join(languages)}; others are marked by {finding()}",
        )


def _body_checks(
    bundle: Bundle,
    body: Sequence[str],
    variant: str,
    engine: Engine,
    attempt: Callable[..., object],
) -> Iterator[Check]:
    exits: Exits | None = None
    if bundle.manifest.levels[body[0]].variants[variant].exits is not None:
        opened = attempt(
            f"{body[0]} exits",
            lambda: open_exits(bundle, body[0], variant, engine.exits),
            lambda found: found.exits.claim.in_words(),
        )
        if not isinstance(opened, OpenExits):
            return
        exits = opened.exits
        yield _threshold_check(bundle, body[0], exits)
    start_s = time.monotonic()
    session = attempt(
        f"{', '.join(body)} {'opens' if len(body) == 1 else 'open'}",
        lambda: engine.open_level(bundle, body[0], variant, exits),
        lambda opened: f"in {time.monotonic() - start_s:.1f} s{_owners(opened)}",
    )
    if session is None:
        return
    for level in body:
        yield from _canary_checks(bundle, level, variant, session, attempt)


def _threshold_check(bundle: Bundle, level: str, exits: Exits) -> Check:
    """Return whether texts leave early under the bundle's own threshold."""
    positive = bundle.manifest.positive_of(level)
    assert positive is not None
    covered = not uncalibrated(threshold_terms(positive.threshold), exits.claim.thresholds)
    return Check(
        name=f"{level} threshold",
        status="ok" if covered else "warn",
        found=f"P({positive.label}) >= {positive.threshold:g}, "
        + (
            "at which texts may leave early"
            if covered
            else "which was not calibrated: without a policy every text is read whole"
        ),
    )


def _canary_checks(
    bundle: Bundle,
    level: str,
    variant: str,
    session: object,
    attempt: Callable[..., object],
) -> Iterator[Check]:
    known = canaries_of(bundle, level)
    tolerance = tolerance_of(bundle.manifest.levels[level].variants[variant])
    if not known.canaries:
        yield Check(
            name=f"{level} canaries",
            status="warn",
            found="the bundle has none; export it again so that its logits can be checked here",
        )
        return
    attempt(
        f"{level} canaries",
        lambda: check_canaries(
            session,  # type: ignore[arg-type]
            known.canaries,
            name=level,
            tolerance=tolerance,
            columns=known.columns,
        ),
        lambda moved: f"{len(known.canaries)} texts within {moved:.1e}; {tolerance:.1e} is allowed",
    )


def _owners(session: object) -> str:
    if not isinstance(session, OrtSession) or not session.owners:
        return ""
    return "; " + ", ".join(f"{name} owns {n} nodes" for name, n in session.owners.items())


def _variants(bundle: Bundle) -> list[str]:
    return sorted({name for level in bundle.manifest.levels.values() for name in level.variants})
