"""A run over many cases: reading, computing, writing, the table of results."""
