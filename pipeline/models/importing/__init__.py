"""Models that other tools trained, as bundles."""
