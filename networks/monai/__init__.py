"""MONAI's own networks under the names of their classes."""
