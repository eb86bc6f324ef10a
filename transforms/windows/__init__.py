"""Training windows: what is drawn of one, and cutting and changing it on any device."""
