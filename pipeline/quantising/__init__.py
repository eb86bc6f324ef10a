"""A bundle's network in INT8: made, measured, and kept where Dice stays what it was."""
