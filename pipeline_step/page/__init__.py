"""The progress page: one HTML file that says how a rollout goes, who has which share, and what happens next."""
