"""`bursar reload`: have what runs read its configuration again, and say what came of it."""

import os
import signal
import time
from pathlib import Path
from typing import Final

from bursar.cli.common import Data, Json, data_folder, print_json
from bursar.core.errors import OperatorError
from bursar.store.running import Reloads, read_running

_LOOK_S: Final = 0.02
_ANSWER_S: Final = 30.0


def reload(*, data: Data = None, json: Json = False) -> None:
    """Have the running Bursar of a data folder read its bursar.toml again, without dropping a call.

    What is wrong with it is said, and everything stays as it was.
    """
    folder = data_folder(data).path
    running = _running(folder)
    try:
        os.kill(running.pid, signal.SIGHUP)
    except PermissionError:
        raise OperatorError(f"process {running.pid} is another user's: run this as who started it") from None
    deadline = time.monotonic() + _ANSWER_S
    while (found := _running(folder)).looks == running.looks:
        if time.monotonic() > deadline:
            raise OperatorError(f"process {running.pid} has not answered in {_ANSWER_S:.0f} s: see its log")
        time.sleep(_LOOK_S)
    if found.error:
        raise OperatorError(f"refused, and everything stays as it was: {found.error}")
    if json:
        print_json({"pid": found.pid, "at_next_start": found.at_next_start})
        return
    print("the configuration holds for the next call")
    if found.at_next_start:
        print(f"but for what waits for the next start: {', '.join(found.at_next_start)}")


def _running(folder: Path) -> Reloads:
    try:
        found = read_running(folder)
    except OSError as error:
        raise OperatorError(f"cannot look into {folder}: {error.strerror}") from None
    if found is None:
        raise OperatorError(f"no Bursar runs in {folder}: start one with `bursar up`, or name its folder with --data")
    return found
