"""What is kept of each case: the table, volumes, hints, files beside the masks."""
