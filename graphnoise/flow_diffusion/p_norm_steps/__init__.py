"""The compiled part of p-norm flow diffusion."""
