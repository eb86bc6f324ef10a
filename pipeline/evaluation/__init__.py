"""Measuring masks against label files: overlap, surface distances, volumes."""
