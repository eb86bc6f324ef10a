"""What makes a formula a loss of training: partial labels, regions, heads, several processes."""
