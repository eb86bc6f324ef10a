"""What a dataset looks like in numbers: what plans are made from."""
