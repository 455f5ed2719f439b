"""Programs of Prometheus, as the tests of the rules find them."""

from tests.alerts.conftest import tool

__all__ = ["tool"]
