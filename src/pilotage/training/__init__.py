"""Training: batches -> loop -> state on disk, driven by :func:`fit`.

``trainer`` takes one optimiser step after the other, ``state`` saves and restores all of it to the
bit, ``tasks`` says what differs between kinds of training, and ``fit`` ties them to a run folder.
"""

from pilotage.training.callbacks import Callback
from pilotage.training.fit import fit
from pilotage.training.trainer import StepRecord, Training, TrainingDivergedError

__all__ = ["Callback", "StepRecord", "Training", "TrainingDivergedError", "fit"]
