"""A page and an API on this machine for a trained model: ``i2i serve``."""
