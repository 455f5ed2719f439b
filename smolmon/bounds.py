"""What libiperf may be asked for. It takes any number, and bears only these.

Apart from all else: the process that runs libiperf reads it, and must start quickly.
"""

from __future__ import annotations

DURATIONS = range(1, 61)  # seconds; 0 or less runs for ever
# 1000 abort the process: a descriptor beyond FD_SETSIZE. These never get there.
STREAMS = range(1, 17)
