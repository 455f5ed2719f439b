"""smolmon: provision, watch and diagnose the network of a small home training cluster."""

__version__ = "0.1.0.dev0"
