"""A bundle's config as Gridgate reads it: known ids, values of overrides, the identity of a run."""
