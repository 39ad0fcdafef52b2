"""Who is about to pay for an answer, and whether that process still lives."""

import os
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ClaimOwner:
    """One opened cache in one process.

    Attributes:
        host: Where process numbers mean the same: machine, its boot and its process namespace.
        pid: Process number.
        started: When that process started, in the kernel's ticks, because numbers are used again;
            "" where the system does not tell.
        token: Random, so that two caches of one process are two owners.
    """

    host: str = field(default_factory=lambda: process_space())
    pid: int = field(default_factory=os.getpid)
    started: str = field(default_factory=lambda: start_of(os.getpid()))
    token: str = field(default_factory=lambda: secrets.token_hex(8))


def process_space() -> str:
    """Name of the space in which process numbers can be compared.

    Containers of one machine may share its name but not its process numbers.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{socket.gethostname()}/{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def start_of(pid: int) -> str:
    """When a process started; "" where the system does not tell, "gone" where it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "gone" if Path("/proc/self/stat").exists() else ""
    except OSError:
        return ""
    # the name in brackets may hold anything; state is the first field behind it, start the 20th
    state, *fields = text.rpartition(")")[2].split()
    return "gone" if state in "ZX" else fields[18]


def is_gone(host: str, pid: int, started: str) -> bool:
    """Whether the owner of a claim has certainly ended.

    Args:
        host: Its `process_space`; another one cannot be judged from here, so False.
        pid: Its number.
        started: Its `start_of`.
    """
    if host != process_space():
        return False
    now = start_of(pid)
    if now:
        return now != started
    if os.name == "nt":  # there, os.kill(pid, 0) ends the process
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
