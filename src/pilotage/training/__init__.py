"""Training: batches -> loop -> state on disk, driven by :func:`fit`.

``trainer`` takes the optimiser steps, ``state`` saves and restores all state bit for bit, ``tasks``
holds what differs between kinds of training, and ``fit`` ties them to a run folder.
"""

from pilotage.training.callbacks import Callback
from pilotage.training.fit import fit
from pilotage.training.trainer import StepRecord, Training, TrainingDivergedError

__all__ = ["Callback", "StepRecord", "Training", "TrainingDivergedError", "fit"]
