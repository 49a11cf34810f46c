"""``i2i new``: looks at folders of pictures and writes a recipe for them."""
