"""Graph layers and the kernels they are made of."""
