"""A training's output folder: who holds it, what it was trained on, checkpoints, the bundle."""
