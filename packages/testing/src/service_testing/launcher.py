"""Turns into a database server: drops root, ties its life to its starter's, then executes it.

Run as a script by `local_server`, never imported, so that what it does to its own process (user,
capabilities, parent-death signal) happens in a fresh single-threaded process instead of between
fork and exec of a threaded one. Imports little, so it costs about 15 ms.

Usage: `launcher.py PARENT_PID SIGNAL USER PATH... -- COMMAND ARGUMENT...`

* PARENT_PID: the server gets SIGNAL when this process ends, however it ends; 0 lets it live on.
* USER: name of the user to become when started by root, `-` for no change.
* PATH: what the server must reach as that user.
"""

import ctypes
import os
import pwd
import signal
import struct
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
LINUX_CAPABILITY_VERSION_3 = 0x20080522


def main(arguments: list[str]) -> None:
    """Becomes the command that follows `--`; does not return."""
    split = arguments.index("--")
    parent, death_signal, user, *paths = arguments[:split]
    command = arguments[split + 1 :]
    os.umask(0o077)
    if user != "-":
        become(user, paths)
    if int(parent):
        die_with(int(parent), int(death_signal))
    os.execv(command[0], command)  # noqa: S606 - the command is the caller's own, no shell is involved


def become(user: str, paths: list[str]) -> None:
    """Drops root for `user`, who may pass closed folders only where the paths need it.

    A checkout below `/root` is closed to everybody else. Opening the folders of whoever runs this
    would outlast the server, so the server's process gets the capability instead.
    """
    account = pwd.getpwnam(user)
    closed = not all(open_to_others(path) for path in paths)
    if closed and sys.platform == "linux":
        prctl(PR_SET_KEEPCAPS, 1)
        keep_capabilities_for_access()
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    if closed and sys.platform == "linux":
        keep_capability(CAP_DAC_OVERRIDE)


def open_to_others(path: str) -> bool:
    """Says whether every folder above `path` can be passed by everybody."""
    return all(folder.stat().st_mode & 0o001 for folder in Path(path).resolve().parents)


def keep_capabilities_for_access() -> None:
    """Makes access(2) answer as open(2) would for a process that is not root.

    initdb asks it whether it may execute postgres, and the kernel answers for whoever has no root
    as if there were no capabilities, unless this bit is set (capabilities(7), securebits). A root
    that may not set it goes without.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    bits = libc.prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)
    try:
        prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP)
    except PermissionError:
        return


def keep_capability(number: int) -> None:
    """Makes a capability survive the coming exec (capabilities(7), ambient set)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", LINUX_CAPABILITY_VERSION_3, 0)
    mask = 1 << number
    sets = struct.pack("=6I", mask, mask, mask, 0, 0, 0)  # effective, permitted, inheritable
    if libc.capset(header, sets) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)


def die_with(parent: int, death_signal: int) -> None:
    """Asks the kernel for `death_signal` when the parent's starting thread ends (Linux only)."""
    if sys.platform != "linux":
        return
    prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it ended before the request was made
        os.kill(os.getpid(), signal.SIGKILL)


def prctl(option: int, *values: int) -> None:
    """Changes an attribute of this process; raises OSError where that fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *padded) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


if __name__ == "__main__":
    main(sys.argv[1:])
