"""Progressive delivery for pull requests, as one step of a pipeline."""
