"""`bursar up`: run everything on this machine."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from bursar.cli.child import set_up_logging
from bursar.cli.common import IS_PORT, Data, config_file, console, data_folder
from bursar.cli.supervisor import WORKERS_MAX, Supervisor, run_until_signal
from bursar.gateway.config import read_config


def up(
    *,
    port: Annotated[int, Parameter(validator=IS_PORT, help="Port to serve on.")] = 4000,
    host: Annotated[
        str, Parameter(help="Address to serve on. Pages and the control API answer locally only.")
    ] = "127.0.0.1",
    data: Data = None,
    config: Annotated[Path | None, Parameter(help="A bursar.toml; the sandbox serves without one.")] = None,
    workers: Annotated[
        int, Parameter(validator=validators.Number(gte=1, lte=WORKERS_MAX), help="Gateway workers: about one a core.")
    ] = 1,
) -> None:
    """Start PostgreSQL (unless BURSAR_DATABASE_URL is set), control plane and gateway, and run until stopped."""
    config = config_file(config)
    set_up_logging()
    folder = data_folder(data)
    supervisor = Supervisor(folder, read_config(config), config, (host, port), workers)

    async def work() -> None:
        started = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(run_until_signal(supervisor, started))
        await asyncio.wait((running, started), return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            _greet(host, supervisor.port, folder.path, config)
        await running

    asyncio.run(work())


def _greet(host: str, port: int, folder: Path, config: Path | None) -> None:
    out = console()
    out.print(f"Bursar serves on [bold]http://{host}:{port}[/bold]   books in {folder}")
    if config is None:
        out.print("No bursar.toml: the sandbox answers, nothing is sent to a provider.")
    command = "bursar" if shutil.which("bursar") else sys.argv[0]  # as it was called, where the shell does not find it
    out.print(
        f'Create a key with [bold]{command} keys create --name me --data "{folder}"[/bold] and use it as an API key.'
    )
