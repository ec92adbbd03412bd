"""The progress page: its parts, and what a person reads in a browser."""
