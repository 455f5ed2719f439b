"""What a reboot takes from a machine's network namespace, as a shell script. Pure.

The namespace outlives the machine, so that its cables stay in: what a kernel would have forgotten
must be taken away by hand. What the lab itself plays is laid again: cables, switches, the Wi-Fi.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from smolmon.lab.plan import Machine, Plan
from smolmon.lab.wires import NETNS, SYSCTLS, inside

# Where a machine keeps nft(8): the second is that of a node whose Linux tools are put away.
NFT = ("usr/sbin/nft", "usr/lib/smolmon-mac/linux/nft")


def script(plan: Plan, machine: Machine) -> str:
    """A script for sh(1), run beside the machine's folder `root` between its end and its start."""
    planned = {
        *(end.interface for c in plan.cables for end in (c.a, c.b) if end.machine == machine.name),
        *(s.name for s in plan.switches if s.machine == machine.name),
    }
    enter = f"nsenter --net={NETNS / machine.namespace}"
    batch = "".join(f"{line}\n" for line in _forget(plan, machine, sorted(planned)))
    sysctls = "".join(
        f"echo {value} >/proc/sys/{path}\n"
        for path, value in {**SYSCTLS, "net/ipv4/icmp_echo_ignore_all": "0"}.items()
    )
    return (
        "# Forgets what this machine's kernel would forget at a reboot.\n"
        f"for nft in {' '.join(NFT)}; do\n"
        # The rule set goes as a whole: it is this machine's alone.
        f'  [ -x root/$nft ] && {enter} chroot root "/$nft" flush ruleset\n'
        "done\n"
        f"{enter} sh <<'END'\n"
        f"planned={shlex.quote(' lo ' + ' '.join(sorted(planned)) + ' ')}\n"
        "for device in $(ip -o link | sed 's/^[0-9]*: \\([^:@]*\\).*/\\1/'); do\n"
        '  case "$planned" in *" $device "*) ;; *) ip link delete "$device" ;; esac\n'
        "done\n"
        f"{sysctls}"
        "ip -force -batch - <<'BATCH'\n"
        f"{batch}"
        "BATCH\n"
        "END\n"
        "true\n"
    )


def _forget(plan: Plan, machine: Machine, planned: list[str]) -> Iterator[str]:
    """The commands for `ip -force -batch`: some find nothing to forget, and say so."""
    ends = {end.interface for c in plan.cables for end in (c.a, c.b) if end.machine == machine.name}
    for device in planned:
        yield f"address flush dev {device}"
        if device in ends:
            # Down and, below, up again: the far end notices, and IPv6 starts from nothing.
            yield f"link set {device} down"
            yield f"link set {device} mtu 1500"
    yield "route flush table main"
    yield "neighbor flush nud permanent"
    yield "neighbor flush all"
    yield "rule flush"  # leaves the one of the table `local`
    yield "rule add pref 32766 table main"
    yield "rule add pref 32767 table default"
    # Making a switch anew fails where it still is; everything else is as on the first day.
    yield from inside(plan, machine.namespace)
