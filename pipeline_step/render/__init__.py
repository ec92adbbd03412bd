"""Renderers: what a preview's objects are made from. They give plain objects; `cluster.py` applies them."""
