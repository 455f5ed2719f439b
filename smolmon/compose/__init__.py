"""The monitor in containers: find an engine, give it its settings, start it, wait for it."""
