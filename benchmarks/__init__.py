"""Every number the design claims has a script here: ``python -m benchmarks.NAME [--json]``."""
