"""The emulated cluster: real Debian machines in network namespaces, wires, faults."""
