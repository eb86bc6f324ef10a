"""What labels are called, how they look and what they mean, in the forms that viewers read."""
