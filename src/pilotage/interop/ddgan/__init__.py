"""Denoising diffusion GANs (2112.07804): published checkpoints in."""
