"""From a dataset's fingerprint to a bundle that fits it: each decision with its reason."""
