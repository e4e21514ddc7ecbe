"""Let a process have as many open files as its connections need."""

import resource
from typing import Final

_ENOUGH: Final = 65_536  # of one worker's clients, providers, spool and database together


def allow_descriptors() -> int:
    """Raise the bound of open files, which many systems set to 1,024, as far as is allowed; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= allowed:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
