"""The project's image, built here from a base made of Debian's packages, and held to what docs/image.md says."""
