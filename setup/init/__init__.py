"""A first cluster file: by asking, or from what SmolCluster's own files know. Pure but `write`."""
