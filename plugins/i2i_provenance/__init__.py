"""What pictures say of their making: metadata, Content Credentials and a watermark, written and read (``i2i inspect``)."""
