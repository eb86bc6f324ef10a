"""Dataset folders: the Decathlon layout, which files belong together, folds."""
