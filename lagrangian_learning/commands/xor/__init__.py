"""The network of five neurons of the paper, learning XOR."""
