"""Runs compared on the same cases, by tables of metrics: statistics, ranks, tables."""
