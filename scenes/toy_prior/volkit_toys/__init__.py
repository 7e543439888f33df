"""Toy diffusion priors for volkit, beside the one that it holds: folders in the format of diffusers, no code."""
