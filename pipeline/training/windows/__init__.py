"""Training windows: cases kept in memory, the windows drawn from them, and their loading."""
