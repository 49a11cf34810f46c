"""Figures of a model: ``i2i eval``, ``i2i compare``, and ``evaluate:`` in a recipe."""
