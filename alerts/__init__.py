"""Prometheus rules, the Prometheus and Alertmanager configuration, and their rendering."""
