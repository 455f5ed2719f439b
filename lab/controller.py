"""What the controller machine has beside the others: smolmon, the cluster file, the monitor."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from smolmon.lab.errors import LabError
from smolmon.lab.files import File
from smolmon.lab.machines import PATH

CLUSTER_FILE = "/etc/smolmon/cluster.yaml"
MONITOR = "/etc/smolmon/monitor"
PROMETHEUS_PORT = 9090
ALERTMANAGER_PORT = 9093
SINK_PORT = 9099
WEBHOOK = f"http://127.0.0.1:{SINK_PORT}/"
UNITS = ("smolmon-sink", "smolmon-alertmanager", "smolmon-prometheus")

# The modules that smolmon imports and does not bring itself. Where they are is asked of the
# interpreter, without importing them.
DEPENDENCIES = (
    "_cffi_backend",  # which cryptography needs
    "attr",
    "attrs",
    "click",
    "cryptography",
    "grafanalib",
    "icmplib",
    "iperf3",
    "prometheus_client",
    "pyroute2",
    "rich",
    "yaml",
)

# smolmon itself comes from the machine that runs the lab, by a read-only mount.
INTERPRETER = "/usr/local/lib/smolmon-python"
PYTHON = """\
#!/bin/sh
export {environment}
exec python3 "$@"
"""
WRAPPER = f"""\
#!/bin/sh
: "${{SMOLMON_CLUSTER:={CLUSTER_FILE}}}"
export SMOLMON_CLUSTER
exec {INTERPRETER} -m smolmon "$@"
"""

SINK = """\
[Unit]
Description=Notification sink of the emulated cluster

[Service]
ExecStart={python} -m smolmon.lab.sink --port {port} --file {file}
Restart=on-failure
"""

PROMETHEUS = """\
[Unit]
Description=Prometheus

[Service]
User=prometheus
StateDirectory=smolmon-prometheus
# Of the rendered flags those for rules alone: it is never an agent, and keeps little.
ExecStart=/bin/sh -c 'exec /usr/bin/prometheus \\
    $$(grep -e ^--rules {monitor}/prometheus/prometheus.flags) \\
    --config.file={monitor}/prometheus/prometheus.yml \\
    --storage.tsdb.path=/var/lib/smolmon-prometheus --storage.tsdb.retention.time=1d \\
    --web.listen-address=127.0.0.1:{port} --web.external-url={url}'
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
"""

ALERTMANAGER = """\
[Unit]
Description=Alertmanager

[Service]
User=prometheus
StateDirectory=smolmon-alertmanager
ExecStart=/usr/bin/prometheus-alertmanager \\
    --config.file={monitor}/alertmanager/alertmanager.yml \\
    --storage.path=/var/lib/smolmon-alertmanager --cluster.listen-address= \\
    --web.listen-address=127.0.0.1:{port} --web.external-url={url}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
"""

TARGET = """\
[Unit]
Description=The monitor of the emulated cluster
Wants={units}
After={units}
"""


def source_folders() -> list[str]:
    """The folders that must be seen for smolmon to run: its own checkout, and its dependencies."""
    package = Path(str(files("smolmon"))).resolve()
    found = [package.parent]
    for name in DEPENDENCIES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        path = Path(spec.origin)
        found.append(path.parent.parent if path.name == "__init__.py" else path.parent)
    return list(dict.fromkeys(str(folder) for folder in found))


def binds(folders: list[str]) -> list[str]:
    """The fewest mounts that show all `folders`. Raises LabError."""
    for folder in folders:
        if set(":\\\n") & set(folder):
            raise LabError(
                f"{folder!r} cannot be mounted: its name has a colon or the like", code=2
            )
    paths = [Path(folder) for folder in folders]
    return [
        str(path)
        for path in paths
        if not any(path != other and path.is_relative_to(other) for other in paths)
    ]


def environment(rootfs: Path) -> dict[str, str]:
    """What Python on the controller needs, to run smolmon from where it is on the host."""
    settings = {"PYTHONPATH": ":".join(source_folders())}
    if (rootfs / f"usr/lib/python3.{sys.version_info.minor}").is_dir():
        settings["PYTHONDONTWRITEBYTECODE"] = "1"  # the host's own compiled files fit
    else:
        settings["PYTHONPYCACHEPREFIX"] = "/var/cache/smolmon-python"
    return settings


def extra_files(cluster_text: str, rootfs: Path, monitor_urls: dict[str, str]) -> list[File]:
    """The files that make a machine the controller."""
    settings = environment(rootfs)
    units = {
        "smolmon-sink.service": SINK.format(
            python=INTERPRETER,
            port=SINK_PORT,
            file="/var/lib/smolmon/notifications.jsonl",
        ),
        "smolmon-prometheus.service": PROMETHEUS.format(
            monitor=MONITOR, port=PROMETHEUS_PORT, url=monitor_urls["prometheus"]
        ),
        "smolmon-alertmanager.service": ALERTMANAGER.format(
            monitor=MONITOR, port=ALERTMANAGER_PORT, url=monitor_urls["alertmanager"]
        ),
        "smolmon-monitor.target": TARGET.format(
            units=" ".join(f"{unit}.service" for unit in UNITS)
        ),
    }
    python = PYTHON.format(
        environment=" ".join(f"{key}={shlex.quote(value)}" for key, value in settings.items())
    )
    return [
        File(CLUSTER_FILE, cluster_text),
        File(INTERPRETER, python, 0o755),
        File("/usr/local/bin/smolmon", WRAPPER, 0o755),
        File("/etc/environment", f"PATH={PATH}\nSMOLMON_CLUSTER={CLUSTER_FILE}\n"),
        File("/var/lib/smolmon/notifications.jsonl", ""),
        *_units(units),
    ]


def _units(units: dict[str, str]) -> Iterator[File]:
    for name, text in units.items():
        yield File(f"/etc/systemd/system/{name}", text)
