"""Parts that several pages lay out: what they show comes from `views`."""
