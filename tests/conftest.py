"""Set-up of the test run: shapes in annotations are enforced, and few threads are used."""

import pytest
import torch
from jaxtyping import install_import_hook

# the hook works on modules as they are imported, so it comes before any test module
install_import_hook(
    [
        "pilotage.diffusion",
        "pilotage.networks",
        "pilotage.objectives",
        "pilotage.conditions",
        "pilotage.utils.images",
    ],
    "typechecker.check",
)
torch.set_num_threads(1)  # these tensors are tiny: more threads would only wait for each other


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A run folder of a tiny network, trained for 12 steps; tests must not change it."""
    from helpers import train  # after the hook, like everything that imports pilotage

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert train(folder, "--checkpoint-every", "6") == 0
    return folder
