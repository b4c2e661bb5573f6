"""Asking: conditions on objects as a tree (:mod:`tim.query.tree`), the languages they are written in, and what they mean."""
