"""Layers that several networks share; one idea a file."""
