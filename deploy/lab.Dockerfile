# The emulated cluster in one privileged container: `smolmon up --lab`, from a checkout.
FROM docker.io/library/debian:12.12-slim

RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates curl debian-archive-keyring iproute2 iputils-ping libiperf0 mmdebstrap \
        nftables openssh-client procps python3 python3-venv systemd-container \
    && rm -rf /var/lib/apt/lists/*

COPY . /usr/src/smolmon
RUN python3 -m venv /opt/smolmon && /opt/smolmon/bin/pip install --no-cache-dir /usr/src/smolmon

ENV PATH=/opt/smolmon/bin:$PATH
ENTRYPOINT ["python3", "-m", "smolmon.lab.container"]
