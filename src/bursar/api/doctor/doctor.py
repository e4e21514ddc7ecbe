"""Answer what the doctor finds of a running Bursar, looked at no more often than is of use."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Request, get

from bursar.api.answers import now_us
from bursar.api.doctor.examine import Place, examine
from bursar.api.doctor.findings import Finding, State
from bursar.core.times import to_datetime

FRESH_S: Final = 10.0
"""How long what was found is shown again: each look asks every provider for its models."""


class DoctorView(msgspec.Struct, frozen=True):
    """Say what was found, and when: `ok` where nothing fails."""

    ok: bool
    looked: str
    findings: list[Finding]


class Doctor:
    """Examine one Bursar for whoever asks, one look at a time."""

    def __init__(self, config: Path | None, place: Place) -> None:
        self._config = config
        self._place = place
        self._turn = asyncio.Lock()
        self._looked_s = -FRESH_S
        self._view = DoctorView(ok=True, looked="", findings=[])

    async def look(self) -> DoctorView:
        """Return what is found now, or was a moment ago."""
        async with self._turn:
            if time.monotonic() - self._looked_s >= FRESH_S:
                found = await examine(self._config, self._place)
                well = all(each.state is not State.fail for each in found)
                looked = to_datetime(now_us()).isoformat(timespec="seconds")
                self._view, self._looked_s = DoctorView(well, looked, found), time.monotonic()
            return self._view


@get("/api/doctor", summary="What `bursar doctor` finds: each check, its state, and what to do")
async def doctor(request: Request[Any, Any, Any]) -> DoctorView:
    """Look at what calls depend on. What was found is kept for ten seconds."""
    found: DoctorView = await request.app.state.doctor.look()
    return found
