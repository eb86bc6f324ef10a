"""Synthetic abdominal CTs with labels, for the demo, the tests and the benchmarks."""
