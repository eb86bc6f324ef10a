"""The `gridgate` command."""
