"""Models at work: predictions for any number of images, and model files in and out."""
