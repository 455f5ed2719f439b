"""Ask Prometheus; where it is not there, or does not watch this cluster, ask the exporters."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from smolmon.cluster import Cluster
from smolmon.doctor import by_exporters, by_prometheus
from smolmon.doctor.finding import Examination
from smolmon.observe.exporters import Credentials
from smolmon.observe.prometheus import Prometheus
from smolmon.observe.sample import ObserveError
from smolmon.setup.trust import TrustError


def examine(
    cluster: Cluster, prometheus: Prometheus, credentials: Callable[[], Credentials]
) -> Examination:
    """What is wrong with the cluster now. Raises ObserveError.

    `credentials` is called where the exporters are asked, and may raise TrustError.
    """
    try:
        return by_prometheus.examine(cluster, prometheus)
    except ObserveError as error:
        why = str(error)
    try:
        found = by_exporters.examine(cluster, credentials())
    except (ObserveError, TrustError) as error:
        raise ObserveError(f"neither Prometheus ({why}) nor the exporters: {error}") from error
    return evolve(found, url=prometheus.url, without=why)
