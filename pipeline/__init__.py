"""What runs: plans, models, inference, batches of cases, training, evaluation, reports, the CLI."""
