"""What the tests of imports share: the command, and networks to export as foreign ones."""

import torch

from pilotage.cli.main import main


def run_import(origin, checkpoint, out, *flags):
    """Run ``pilotage import`` in this process; its exit status."""
    return main([str(word) for word in ("import", origin, checkpoint, "--out", out, *flags)])


def refused(capsys, *arguments):
    """The one sentence with which a command refuses its arguments."""
    assert main([str(word) for word in arguments]) == 2
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence.startswith("error: ")
    return sentence


def import_refused(capsys, origin, checkpoint, out, *flags):
    """The one sentence with which ``pilotage import`` refuses."""
    return refused(capsys, "import", origin, checkpoint, "--out", out, *flags)


def perturbed(network):
    """The network with weights that are not its initial ones, as a run's are loaded."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network.eval().requires_grad_(False)  # torch may round otherwise
