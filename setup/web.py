"""The exporter's web configuration: only who has a certificate of our authority is let in. Pure."""

from __future__ import annotations

import yaml


def web_config(certificate: str, key: str, authority: str) -> bytes:
    """The file for `--web.config.file`; all three are paths on the node, or relative to the file.

    The format is that of Prometheus' exporter-toolkit (docs/web-configuration.md there).
    """
    tls = {
        "cert_file": certificate,
        "key_file": key,
        "client_ca_file": authority,
        "client_auth_type": "RequireAndVerifyClientCert",
        "min_version": "TLS13",
    }
    head = "# Written by `smolmon setup`.\n"
    return (head + yaml.safe_dump({"tls_server_config": tls}, sort_keys=False)).encode()
