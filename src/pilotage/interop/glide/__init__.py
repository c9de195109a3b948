"""GLIDE (2112.10741): published checkpoints in."""
