"""Pictures of a report: slices with their labels, curves, and the album that holds them."""
