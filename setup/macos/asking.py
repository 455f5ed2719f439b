"""The script that asks a Mac for its facts; it changes nothing. Pure."""

from __future__ import annotations

from smolmon.setup.macos import tools
from smolmon.setup.macos.tools import (
    ARP,
    DIRECTORIES,
    IFCONFIG,
    LABELS,
    LAUNCHCTL,
    NETSTAT,
    NETWORKSETUP,
    PATHS,
    PFCTL,
    PMSET,
    PYTHONS,
    SHASUM,
    SOCKETFILTERFW,
    SYSCTL,
    SYSTEM_PROFILER,
)
from smolmon.setup.shell import command, lines, quote

# Any Python 3 must get as far as to say which one it is. A framework's interpreter starts an
# application inside of it, and that is whom the firewall sees.
_PYTHON = """\
import json, os, sys
app = os.path.join(sys.base_prefix, "Resources/Python.app/Contents/MacOS/Python")
files = {}
for path in sys.argv[1:]:
    try:
        seen = os.stat(path)
        files[path] = [seen.st_mode & 0o7777, int(seen.st_mtime)]
    except OSError:
        pass
print(json.dumps({
    "version": list(sys.version_info[:2]),
    "program": os.path.realpath(app if os.path.exists(app) else sys.executable),
    "files": files,
}))
"""


def script(*, cabling: bool, neighbours: bool = False, fence: bool = False) -> str:
    """The facts script. `cabling`: ask for the Thunderbolt cables too, which takes seconds.

    `neighbours`, `fence`: ask for ARP entries and pf, which is done anyway where setup left files.
    """
    ask = command(SYSTEM_PROFILER, "SPThunderboltDataType", "-json")
    # It answers while the rest is asked; what the rest says is kept until it has finished.
    profiler = f"{{ echo @@thunderbolt; {ask} 2>/dev/null; }} &" if cabling else ":"
    return lines(
        [
            f"asked() {{\n{_questions(neighbours=neighbours, fence=fence)}\n}}",
            profiler,
            "said=$(asked)",
            "wait",
            r"""printf '\n%s\n' "$said" """.rstrip(),
        ]
    )


def network_script(*, neighbours: bool = False) -> str:
    """The part of the facts script that the network steps depend on."""
    return lines([*_network(neighbours=neighbours), "true"])


def _questions(*, neighbours: bool, fence: bool) -> str:
    return lines([*_network(neighbours=neighbours), *_system(), _fence(fence=fence), "true"])


def _network(*, neighbours: bool) -> list[str]:
    elevated = 'sudo=; [ "$(id -u)" = 0 ] || sudo="sudo -n"'
    return [
        "echo @@user; id -un; id -u",
        # One of the commands of the narrow sudoers file: `smolmon.setup.macos.sudoers`.
        f"{elevated}; echo @@sudo; $sudo {tools.TRUE} 2>/dev/null && echo yes",
        """echo @@ssh; printf '%s\n' "$SSH_CONNECTION" """.rstrip(),
        f"echo @@location; {NETWORKSETUP} -getcurrentlocation",
        f"order=$({NETWORKSETUP} -listnetworkserviceorder)",
        """echo @@order; printf '%s\n' "$order" """.rstrip(),
        _services(),
        f"echo @@ports; {NETWORKSETUP} -listallhardwareports",
        f"echo @@interfaces; {IFCONFIG} -a",
        f"echo @@netstat; {NETSTAT} -rn -f inet",
        f"echo @@forwarding; {SYSCTL} net.inet.ip.forwarding",
        f"if {_true(neighbours)} || [ -e {tools.NEIGHBOUR_SCRIPT} ]; then",
        f"  echo @@arp; {ARP} -an",
        f"  echo @@neighbors; cat {tools.NEIGHBOUR_SCRIPT} 2>/dev/null",
        "fi",
    ]


def _system() -> list[str]:
    return [
        "echo @@group; id -gn nobody 2>/dev/null",
        "echo @@sysctl.conf; grep '^[[:space:]]*net.inet.ip.forwarding' /etc/sysctl.conf "
        "2>/dev/null",
        f"echo @@daemons; ls {tools.DAEMONS} 2>/dev/null",
        *(_job(label) for label in LABELS),
        f"echo @@disabled; {LAUNCHCTL} print-disabled system 2>/dev/null",
        f"echo @@listening; {NETSTAT} -anl -p tcp",
        f"echo @@firewall; {SOCKETFILTERFW} --getglobalstate; {SOCKETFILTERFW} --getstealthmode",
        f"echo @@apps; {SOCKETFILTERFW} --listapps",
        f"echo @@firewall-rule; cat {tools.FIREWALL_RULE} 2>/dev/null",
        f"echo @@power; {PMSET} -g",
        *_pythons(),
        f"echo @@sha256; $sudo {command(SHASUM, '-a', '256', *PATHS)} 2>/dev/null",
        f"echo @@directories; for directory in {command(*DIRECTORIES)}; do",
        """  [ -d "$directory" ] && printf '%s\n' "$directory" """.rstrip(),
        "done",
    ]


def _true(value: bool) -> str:
    return "true" if value else "false"


def _fence(*, fence: bool) -> str:
    """Only root may look at pf."""
    return lines(
        [
            f"if {_true(fence)} || [ -e {tools.PF_SCRIPT} ]; then",
            f"  echo @@pf-info; $sudo {PFCTL} -s info 2>/dev/null",
            f"  echo @@pf-rules; $sudo {PFCTL} -a {tools.ANCHOR} -s rules 2>/dev/null",
            f"  echo @@pf-references; $sudo {PFCTL} -s References 2>/dev/null",
            f"  echo @@pf-token; cat {tools.PF_TOKEN} 2>/dev/null",
            "fi",
        ]
    )


def _services() -> str:
    """For each service with a device: its settings. A name may hold anything but a newline."""
    return f"""\
name=
printf '%s\\n' "$order" | while IFS= read -r line; do
  case $line in
    "(Hardware Port: "*", Device: )") name= ;;
    "(Hardware Port: "*", Device: "*")")
      [ -n "$name" ] || continue
      printf '@@info %s\\n' "$name"; {NETWORKSETUP} -getinfo "$name" </dev/null
      printf '@@routes %s\\n' "$name"; {NETWORKSETUP} -getadditionalroutes "$name" </dev/null
      name= ;;
    "("*") "?*) name=${{line#*") "}} ;;
    *) name= ;;
  esac
done"""


def _job(label: str) -> str:
    show = f"{LAUNCHCTL} print {quote(f'system/{label}')} 2>/dev/null"
    if label != tools.EXPORTER:
        return f"echo {quote(f'@@job {label}')}; {show}"
    return lines(
        [
            f"job=$({show})",
            f"echo {quote(f'@@job {label}')}; printf '%s\\n' \"$job\"",
            "pid=$(printf '%s\\n' \"$job\" | "
            """awk '$1 == "pid" && $2 == "=" { print $3; exit }')""",
            'echo @@started; [ -z "$pid" ] || { ps -o etime= -p "$pid"; date +%s; }',
        ]
    )


def _pythons() -> list[str]:
    ask = command("-c", _PYTHON, *PATHS)
    last = quote(PYTHONS[-1])
    # Without the developer tools, that one opens a window on the screen. It is the last resort.
    return [
        "enough=",
        f"for python in {command(*PYTHONS)}; do",
        '  [ -z "$enough" ] && [ -x "$python" ] || continue',
        f'  if [ "$python" = {last} ]; then',
        "    /usr/bin/xcode-select -p >/dev/null 2>&1 || continue",
        "  fi",
        f'  said=$("$python" {ask} 2>/dev/null) || continue',
        """  printf '@@python %s\\n%s\\n' "$python" "$said" """.rstrip(),
        "  case $said in",
        """    *'"version": [3, '[0-9]']'*|*'"version": [2, '*) ;;""",
        "    *) enough=yes ;;",
        "  esac",
        "done",
    ]
