"""The cluster's own certificate authority, kept on the controller.

Each node gets a certificate that proves it to Prometheus, and Prometheus one that lets it in.
"""


class TrustError(Exception):
    """What is kept cannot be used. One line: the file, what is wrong with it, and the remedy."""
