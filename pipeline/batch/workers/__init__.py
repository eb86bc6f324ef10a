"""Worker processes: the pool, a worker as its parent sees it, and its own main."""
