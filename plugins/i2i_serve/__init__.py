"""A page and an API on this machine for trained models: ``i2i serve``."""
