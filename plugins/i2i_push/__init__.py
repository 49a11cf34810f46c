"""A model with its card to the hub: ``i2i push``."""
