"""Plans, and the bundles that are written from them."""
