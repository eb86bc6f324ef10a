"""Training: the trainer, crops, losses, handlers, checkpoints."""
