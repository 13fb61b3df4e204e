"""Learning to tell speakers apart from a stream of real speech."""
