"""Report pages and their figures."""
