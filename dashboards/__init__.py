"""Grafana boards: written with grafanalib, generated as JSON, provisioned by `smolmon render`."""
