"""Training: batches -> loop -> state on disk, driven by ``fit``.

``loop`` takes one optimiser step after the other, ``state`` saves and restores all of it to the
bit, ``fit`` ties them to a run folder.
"""
