"""A run's weight files into its networks."""

from pathlib import Path

import torch
from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.utils.files import file_hash, read_metadata, read_tensors


def stored_step(folder: Path, weights: str) -> int:
    """The training step of a run's weights; a damaged run is refused whichever are wanted.

    Raises:
        PilotageError: if either weight file is missing or damaged.
    """
    steps = {name: _step(folder / f"{name}.safetensors") for name in ("model", "ema")}
    return steps[weights]


def _step(path: Path) -> int:
    return int(read_metadata(path).get("step", 0))


def weights_hash(folder: Path, weights: str = "ema") -> str:
    """SHA-256 (hex) of a run's weight file."""
    return file_hash(folder / f"{weights}.safetensors")


def fill(network: nn.Module, path: Path) -> None:
    """Put a file's tensors into a network.

    Raises:
        PilotageError: if they are not exactly the network's.
    """
    tensors, own = read_tensors(path), network.state_dict()
    wrong = [n for n in own.keys() | tensors.keys() if _shape(own, n) != _shape(tensors, n)]
    if wrong:
        raise PilotageError(
            f"{path} does not hold this run's weights: {', '.join(sorted(wrong)[:3])} "
            f"({len(wrong)} in all) are missing, unknown or of another shape."
        )
    network.load_state_dict(tensors)


def fill_from(network: nn.Module, path: Path, kept: dict[int, int]) -> None:
    """Start a network from another run's weights.

    Args:
        network: any; its labels may be others than that run's.
        path: a weight file of the run.
        kept: labels of the network that the run has too, and their number there; the other rows
            of the table of labels stay as they are.

    Raises:
        PilotageError: if any other tensor is missing, unknown or of another shape.
    """
    tensors, own = read_tensors(path), network.state_dict()
    tables = {name for name in own.keys() | tensors.keys() if name.endswith("label.weight")}
    for name in tables:
        old, new = tensors.pop(name, None), own.get(name)
        if new is not None:
            tensors[name] = table = new.clone()
            if old is not None and old.shape[1:] == new.shape[1:]:
                table[list(kept)] = old[list(kept.values())]
    wrong = [n for n in own.keys() | tensors.keys() if _shape(own, n) != _shape(tensors, n)]
    if wrong:
        raise PilotageError(
            f"start_from is {path.parent}: {', '.join(sorted(wrong)[:3])} ({len(wrong)} in all) of "
            "its weights do not fit the recipe's network."
        )
    network.load_state_dict(tensors)


def _shape(tensors: dict[str, Tensor], name: str) -> torch.Size | None:
    return tensors[name].shape if name in tensors else None
