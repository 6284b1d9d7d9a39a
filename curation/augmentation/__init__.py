"""Augmentation: named recipes of random changes that leave an image's label as it is."""
