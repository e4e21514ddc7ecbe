"""Become another program that ends with its parent and, as root, runs in a user namespace. Standard library only.

    python -I -S launch.py (plain|namespace|UID) SIGNAL PARENT PROGRAM ARGUMENTS...

PostgreSQL refuses to run as root. In a user namespace of its own it sees another user's number while the files it
makes still belong to root; where the system forbids that, it runs as the unprivileged user `UID`.
"""

import ctypes
import os
import sys

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_UID_INSIDE = 1000


def enter_namespace() -> None:
    """Enter a user namespace in which this process is an ordinary user. Raises `OSError` where that is forbidden."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{_UID_INSIDE} {uid} 1"),
        ("gid_map", f"{_UID_INSIDE} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - pathlib costs this launcher half its start
            file.write(text)


def become(how: str) -> None:
    """Take on the user a program is to run as."""
    if how == "namespace":
        enter_namespace()
    elif how != "plain":
        os.setgroups([])
        os.setgid(int(how))
        os.setuid(int(how))


def end_with_parent(signal_number: int, parent: int) -> None:
    """Have the kernel send a signal when the parent dies. Changing users clears this, so it comes after."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)


if __name__ == "__main__":
    become(sys.argv[1])
    end_with_parent(int(sys.argv[2]), int(sys.argv[3]))
    os.execv(sys.argv[4], sys.argv[4:])  # noqa: S606 - the arguments come from this package alone
