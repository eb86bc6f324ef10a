"""Which files of a folder belong together: patterns, pairs, and a proposal of them."""
