"""Converts published checkpoints to model folders with ``i2i convert``, using the converters that plugins register."""
