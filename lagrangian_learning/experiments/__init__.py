"""The experiments behind the commands. They use the public names of the package and nothing else."""
