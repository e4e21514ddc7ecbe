"""Be a child process of the supervisor: a gateway worker, the control plane, the keeper, the sandbox, a compiler.

python -m bursar.cli.child ROLE        its options are JSON in the environment, BURSAR_CHILD
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
import uvicorn
import uvloop

from bursar.core.errors import BursarError, OperatorError
from bursar.store.descriptors import allow_descriptors
from bursar.store.launch import end_with_parent

if TYPE_CHECKING:
    from bursar.gateway.worker import Worker

ENVIRONMENT: Final = "BURSAR_CHILD"
LEVEL: Final = "BURSAR_LOG_LEVEL"
CHECKED_SUFFIX: Final = ".checked"
"""Of the file beside the compiled price book that says when its prices were checked."""

_LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hold what a child is told. Descriptors are inherited."""

    parent: int = 0
    folder: str = ""
    spool: str = ""
    database_url: str = ""
    config: str = ""
    listener: int = -1
    control_socket: str = ""
    sandbox_url: str = ""
    ttft_ms: float = 0.0
    tpot_ms: float = 0.0


def main() -> None:
    """Run the role named on the command line."""
    options = msgspec.json.decode(os.environ.pop(ENVIRONMENT), type=Options)
    end_with_parent(signal.SIGTERM, options.parent)
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all; the supervisor decides
        signal.signal(number, signal.SIG_IGN)
    allow_descriptors()
    set_up_logging()
    try:
        _ROLES[sys.argv[1]](options)
    except BursarError as error:
        structlog.get_logger().critical("child.failed", role=sys.argv[1], error=str(error))
        sys.exit(1)


def set_up_logging(*, quiet: bool = False) -> None:
    """Log one line of key=value or JSON to standard error. No secret, prompt or answer is ever an argument.

    Raises `OperatorError` for a level that does not exist.
    """
    level = os.environ.setdefault(LEVEL, "warning" if quiet else "info")
    if level.lower() not in _LEVELS:
        raise OperatorError(f"{LEVEL}: expected {', '.join(_LEVELS)}; got {level!r}")
    terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer(colors=True) if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _worker(options: Options) -> None:
    async def work() -> None:
        worker = _worker_of(options)
        # What is loaded by now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        await worker.run()

    _run(work())


def _recover(options: Options) -> None:
    async def work() -> None:
        await _worker_of(options).recover()

    _run(work())


def _worker_of(options: Options) -> "Worker":
    from bursar.gateway.config import read_config
    from bursar.gateway.worker import Worker, WorkerOptions

    worker_options = WorkerOptions(
        folder=Path(options.folder),
        spool=Path(options.spool),
        database_url=options.database_url,
        listener=socket.socket(fileno=options.listener) if options.listener >= 0 else None,
        control_socket=Path(options.control_socket),
        sandbox_url=options.sandbox_url,
        config=Path(options.config) if options.config else None,
    )
    return Worker(read_config(worker_options.config), worker_options)


def _sandbox(options: Options) -> None:
    from bursar.sandbox.app import Sandbox

    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # a planned cut is an exception to uvicorn
    app = Sandbox(ttft_ms=options.ttft_ms, tpot_ms=options.tpot_ms)
    _run(_serve(app, socket.socket(fileno=options.listener)))


def _control(options: Options) -> None:
    from bursar.api.doctor.doctor import Doctor
    from bursar.api.doctor.examine import Place
    from bursar.api.plan import Planner
    from bursar.web.app import control_plane

    listener, prices = socket.socket(fileno=options.listener), Path(options.folder)
    config = Path(options.config) if options.config else None
    place = Place(prices.parent, options.database_url, own=False)
    _run(_serve(control_plane(options.database_url, Planner(config, prices), Doctor(config, place)), listener))


def _keeper(options: Options) -> None:
    from bursar.cli.keeper import Keeper
    from bursar.gateway.config import read_config

    config = read_config(Path(options.config) if options.config else None)
    checked = Path(options.folder).with_suffix(CHECKED_SUFFIX)
    text = checked.read_text() if checked.exists() else ""
    _run(Keeper(options.database_url, config.alerts, prices_checked=text).run())


def _prices(options: Options) -> None:
    from bursar.prices import load

    path = Path(options.folder)
    fresh = path.with_suffix(".new")
    book = load()
    fresh.write_bytes(msgspec.msgpack.encode(book))
    path.with_suffix(CHECKED_SUFFIX).write_text(book.checked)
    fresh.rename(path)


async def _serve(app: Any, listener: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        loop="none",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=1,
    )
    await uvicorn.Server(config).serve(sockets=[listener])


def _run(work: Any) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


_ROLES: Final = {
    "worker": _worker,
    "recover": _recover,
    "sandbox": _sandbox,
    "control": _control,
    "keeper": _keeper,
    "prices": _prices,
}


if __name__ == "__main__":
    main()
