"""Measurements of the exporter on two network namespaces of this machine; root is needed."""
