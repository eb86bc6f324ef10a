"""Preprocessed cases on disk: stored once, checked, shared by processes, read in parts."""
