"""What is seen of a cluster now: by Prometheus, by Alertmanager, and by its exporters themselves.

Clients that only read. Nothing is kept between two calls, and each call ends in bounded time.
"""
