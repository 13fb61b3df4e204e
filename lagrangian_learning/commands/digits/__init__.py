"""Learning handwritten digits by a convolutional network of a million weights."""
