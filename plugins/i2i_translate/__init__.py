"""Files through a trained model: ``i2i translate``."""
