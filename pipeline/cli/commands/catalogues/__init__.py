"""Commands that list what there is: bundles, networks, losses."""
