"""A trained model: its folder, and translating with it."""
