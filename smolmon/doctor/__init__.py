"""What is wrong with a cluster now, what that breaks, and how it is repaired.

Prometheus is asked what is active. Where there is none, the exporters are asked themselves, and the
causes are found by the same comparisons as in the rules (causes.py, explain.py), on one scrape.
"""
