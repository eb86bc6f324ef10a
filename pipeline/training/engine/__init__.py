"""The training's engines: a step, a validation, and what they are made of."""
