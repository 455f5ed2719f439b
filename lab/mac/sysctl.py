"""`/usr/sbin/sysctl`: the names that smolmon and its users ask for. Forwarding is the kernel's."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from smolmon.lab.mac import kernel, state
from smolmon.lab.mac.words import complain, say

FORWARDING = "net.inet.ip.forwarding"
FORWARDING6 = Path("/proc/sys/net/ipv6/conf/all/forwarding")


def _boot_time() -> str:
    seconds = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    with open("/proc/1/stat", encoding="ascii") as stat:  # noqa: PTH123
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    # The node's own, not that of the machine that emulates it.
    seconds += ticks / os.sysconf("SC_CLK_TCK")
    whole = int(seconds)
    text = time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(whole))
    return f"{{ sec = {whole}, usec = {int((seconds - whole) * 1e6)} }} {text}"


READ: dict[str, Callable[[], str]] = {
    FORWARDING: lambda: kernel.FORWARDING.read_text().strip(),
    "net.inet6.ip6.forwarding": lambda: FORWARDING6.read_text().strip(),
    "kern.boottime": _boot_time,
    "kern.ostype": lambda: "Darwin",
    "kern.osrelease": lambda: "24.6.0",
    "kern.osproductversion": lambda: "15.6",
    "kern.hostname": os.uname().nodename.__str__,
    "hw.model": lambda: str(state.machine().get("model_id", "Mac16,10")),
    "hw.ncpu": lambda: str(os.cpu_count()),
    "hw.memsize": lambda: str(16 << 30),
}
WRITE = {FORWARDING: kernel.FORWARDING, "net.inet6.ip6.forwarding": FORWARDING6}


def main(argv: Sequence[str]) -> int:
    """Run `sysctl argv`."""
    flags = {letter for word in argv if word.startswith("-") for letter in word[1:]}
    names = [word for word in argv if not word.startswith("-")]
    if "a" in flags:
        names = list(READ)
    worst = 0
    for name in names:
        worst = max(worst, _one(*name.partition("=")[::2], bare="n" in flags, write="=" in name))
    return worst


def _one(name: str, value: str, *, bare: bool, write: bool) -> int:
    if name not in READ:
        complain(f"sysctl: unknown oid '{name}'")
        return 1
    before = READ[name]()
    if not write:
        say(before if bare else f"{name}: {before}")
        return 0
    if name not in WRITE:
        complain(f"sysctl: oid '{name}' is read only")
        return 1
    if not state.is_root():
        complain(f"sysctl: {name}={value}: Operation not permitted")
        return 1
    if not value.strip().isdigit():
        complain(f"sysctl: invalid integer '{value}'")
        return 1
    # What a Mac takes for on is whatever is not 0.
    WRITE[name].write_text("1" if int(value) else "0")
    after = READ[name]()
    say(f"{before} -> {after}" if bare else f"{name}: {before} -> {after}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
