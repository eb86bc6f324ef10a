"""report.html of a training, rewritten while it runs."""
