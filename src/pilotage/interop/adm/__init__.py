"""guided-diffusion (ADM, 2105.05233): checkpoints in and out."""
