"""What is measured for a plan: memory, seconds, the pace of a training."""
