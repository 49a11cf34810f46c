"""Published checkpoints become model folders: ``i2i convert``, by the converters that plugins register."""
