"""Benchmarks: one script per row of the targets table; `python -m benchmarks` prints target and figure side by side."""
