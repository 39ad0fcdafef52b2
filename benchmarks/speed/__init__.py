"""Speed and memory of the kernels, each against what a user would otherwise run."""
