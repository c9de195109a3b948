"""The work of the commands: sampling, inpainting, evaluation, studies, the demo."""
