"""What runs on every node: probes, checks and the metrics they yield."""
