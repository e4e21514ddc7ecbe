"""Keep the uploads that are under way, for whichever gateway their next piece comes to."""

from typing import Final

import msgspec

from bursar.core.times import HOUR_US
from bursar.store.database import Connection, load_statements

_SQL: Final = load_statements("uploads")

LASTS_US: Final = 2 * HOUR_US
"""How long an upload may take."""


class Upload(msgspec.Struct, frozen=True):
    """Be an upload: of what kind and size its client says the file is, and where at its provider it goes on."""

    upload_id: str
    provider: str
    media_type: str
    size: int
    about: bytes
    path: str = ""


async def begin_upload(connection: Connection, tenant: int, key_id: str, upload: Upload, at_us: int) -> None:
    """Write an upload down, and forget those that were given up."""
    await connection.execute(_SQL["forget_old"], at_us - LASTS_US)
    u = upload
    await connection.execute(
        _SQL["insert"], u.upload_id, tenant, key_id, u.provider, u.media_type, u.size, u.about, at_us
    )


async def find_upload(connection: Connection, tenant: int, key_id: str, upload_id: str, at_us: int) -> Upload | None:
    """Find a key's own upload that is still under way."""
    row = await connection.fetchrow(_SQL["find"], upload_id, tenant, key_id, at_us - LASTS_US)
    if row is None:
        return None
    return Upload(row["upload_id"], row["provider"], row["media_type"], row["bytes"], row["about"], row["path"])


async def upload_goes_on(connection: Connection, upload: Upload, path: str) -> None:
    """Keep where at its provider an upload goes on."""
    await connection.execute(_SQL["goes_on"], upload.upload_id, path)


async def end_upload(connection: Connection, upload: Upload) -> None:
    """Forget an upload."""
    await connection.execute(_SQL["forget"], upload.upload_id)
