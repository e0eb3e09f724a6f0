"""A reload of a running server: everything is read and opened first, and then replaced at once."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from hazgate.errors import BundleError, HazgateError
from hazgate.gate import Gate
from hazgate.judge import Judge
from hazgate.serving.http.edge import EdgeLimits, edge_limits
from hazgate.serving.keys import KeyRing
from hazgate.serving.service import Service, run_through, warm_up_texts
from hazgate.serving.settings import ServeSettings
from hazgate.serving.source import ServeInputs, check_reloadable, check_tenants
from hazgate.serving.tls import Certificate, check_certificate

_LOG = logging.getLogger("hazgate.serving")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reloading:
    """The ways to read everything again.

    Attributes:
        read: reads settings, keys and the bundle's digest; raises HazgateError.
        open: opens the bundle of that digest by settings; raises HazgateError.
        certificate: of HTTP.
        by_signal: SIGHUP reloads; else only a dead engine is opened again.
    """

    read: Callable[[], ServeInputs]
    open: Callable[[ServeSettings, str], Judge]
    certificate: Certificate
    by_signal: bool = True


@dataclass(kw_only=True, slots=True, eq=False)
class Reload:
    """Reloads of one server, one at a time; however many are asked for meanwhile, one follows."""

    service: Service
    keys: KeyRing
    reloading: Reloading
    timed: Callable[[Judge], Judge]
    on_limits: Callable[[EdgeLimits], None]
    _task: "asyncio.Task[None] | None" = field(default=None, init=False)
    _asked: bool = field(default=False, init=False)

    def ask(self) -> None:
        """Ask for a reload, in the event loop: one that runs is followed by another."""
        self._asked = True
        if self._task is None:
            # A task that nothing refers to may be collected before it ends.
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._asked:
                self._asked = False
                await self._reload()
        finally:
            self._task = None

    async def _reload(self) -> None:
        """Read and open everything, then answer by it; if anything fails, keep all as it is."""
        try:
            inputs, judge = await asyncio.to_thread(self._opened)
            self.keys.replace(inputs.keys)
            self.reloading.certificate.replace(inputs.settings.tls)
        except HazgateError as error:
            _LOG.error("reload failed, still serving as before: %s", error)
            return
        # Nobody awaits this task, so that an error of any kind is lost unless it is logged here.
        except Exception as error:
            _LOG.exception("reload failed, still serving as before: %s", type(error).__name__)
            return
        self.service.apply(inputs.settings, judge)
        self.on_limits(edge_limits(inputs.settings))
        _LOG.warning("reloaded: %s %s", judge.model.bundle, judge.model.digest)

    def _opened(self) -> tuple[ServeInputs, Judge]:
        inputs = self.reloading.read()
        check_reloadable(self.service.settings, inputs.settings)
        if inputs.settings.tls is not None:
            check_certificate(inputs.settings.tls)
        judge = self.timed(self.reloading.open(inputs.settings, inputs.digest))
        check_tenants(judge, inputs.keys)
        if isinstance(judge, Gate) != isinstance(self.service.judge, Gate):
            raise BundleError("only one of both bundles gives verdicts; start a new server")
        # The first runs are slow: do them before any request waits for them.
        run_through(judge, warm_up_texts(judge))
        return inputs, judge
