"""The Inception network of 2015, in which FID and the Inception score are defined.

The file is NVIDIA's translation of TensorFlow's graph, published with StyleGAN2-ADA. Its
``forward`` resizes to 299 x 299 by itself, as `resize_tf1_bilinear` does, and scales 0..255: it is
given images as they are. TorchScript is a program with weights, so a file runs only once its
SHA-256 is known to be right; nothing is unpickled in Python.
"""

from __future__ import annotations

import hashlib
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.metrics.extractors.extractor import (
    Extractor,
    cache_folder,
    check_images,
    exact_convolutions,
    one_at_a_time,
    pick_device,
    three_channels,
    to_array,
)
from pilotage.metrics.features import Features
from pilotage.utils.files import file_hash, whole_file

INCEPTION_FILE = "inception-2015-12-05.pt"
INCEPTION_URL = (
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/" + INCEPTION_FILE
)
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"

SIDE = 299
SPATIAL_CHANNELS = 7  # as in ADM's evaluator: 7·17·17 = 2023 numbers
SCALES = ((128.0, 128.0), (127.5, 127.5))  # (u − a)/b
TIMEOUT = 60


class Inception(Extractor):
    """The script as an `Extractor`; made by `inception`."""

    resize = f"TensorFlow 1 bilinear to {SIDE}x{SIDE}, no antialiasing (inside the network)"

    def __init__(self, model: nn.Module, sha256: str, device: torch.device, spatial: bool = True):
        # only the published file may be called by its year, and its distance plain FID
        self.name = "inception-2015" if sha256 == INCEPTION_SHA256 else "inception"
        self._model, self._device = model.eval().to(device), device
        with plain_execution():
            probe = probe_images(device)
            pooled = self._model(probe, return_features=True)
            self._weight = find_output_weight(self._model, probe, pooled)
            self._spatial = find_spatial(self._model, probe, pooled) if spatial else None
        self.dimensions = pooled.shape[1]
        text = f"{self.name} {sha256} {self.resize} spatial={self._spatial is not None}"
        self.hash = hashlib.sha256(text.encode()).hexdigest()

    def __call__(self, images: Tensor) -> Features:
        """Features of uint8 images (B, 1 or 3, H, W); grey ones are taken as equal channels.

        Logits are without the output's bias, as the Inception score has them; a script that does
        not show its last layer gives log-probabilities instead, whose softmax is the same.
        """
        check_images(images, channels=(1, 3))
        x = three_channels(images.to(self._device))
        with plain_execution():
            pooled = self._model(x, return_features=True)
            if self._weight is None:
                logits = self._model(x, no_output_bias=True).float().clamp_min(1e-38).log()
            else:
                logits = pooled.float() @ self._weight.T
            spatial = None if self._spatial is None else to_array(self._spatial(x))
        return Features(to_array(pooled), spatial, to_array(logits))


def inception(
    path: str | Path | None = None,
    *,
    sha256: str = INCEPTION_SHA256,
    cache: str | Path | None = None,
    device: torch.device | str | None = None,
    spatial: bool = True,
) -> Inception:
    """The standard Inception network.

    Args:
        path: of the TorchScript file; None: from the cache, downloaded if it is not there.
        sha256: what the file must hash to; another file than the standard one is not "FID".
        cache: folder of downloaded files; None: ``~/.cache/pilotage/extractors``, or below
            ``XDG_CACHE_HOME``.
        device: where to run; None: this process's own.
        spatial: also give the features of sFID, where the script lets its layers be seen: the
            first 7 channels of mixed_6/conv, as ADM takes them. They cost about as much again.

    Raises:
        PilotageError: if the file is missing, cannot be had, or is another one.
    """
    if path is None:
        folder = cache_folder(cache)
        path = folder / INCEPTION_FILE
        with one_at_a_time(folder / f"{INCEPTION_FILE}.lock"):
            if not path.is_file():
                download(INCEPTION_URL, path, sha256)
    path = Path(path)
    if not path.is_file():
        raise PilotageError(
            f"extractor=inception: there is no file {path}; get it from {INCEPTION_URL}, or name "
            "no path to have it downloaded."
        )
    check_hash(path, sha256, f"get {INCEPTION_FILE} anew from {INCEPTION_URL}")
    try:
        with warnings.catch_warnings():  # newer versions advise another format; this one is given
            warnings.simplefilter("ignore", DeprecationWarning)
            model: nn.Module = torch.jit.load(str(path), "cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise PilotageError(
            f"extractor=inception: {path} is not a TorchScript file ({str(error).splitlines()[0]})."
        ) from None
    return Inception(model, sha256, pick_device(device), spatial)


def download(url: str, path: Path, sha256: str) -> None:
    """A file of that hash, whole or not at all."""
    try:
        with whole_file(path) as temporary:
            with (
                urllib.request.urlopen(url, timeout=TIMEOUT) as source,
                temporary.open("wb") as file,
            ):
                copyfileobj(source, file)
            check_hash(temporary, sha256, "try again, or name the path of a good copy")
    except OSError as error:
        raise PilotageError(
            f"extractor=inception: {url} cannot be downloaded ({error}); get the file where there "
            f"is a network, and give extractor=inception:PATH or put it at {path}."
        ) from None


def check_hash(path: Path, sha256: str, remedy: str) -> None:
    """Raise PilotageError unless the file is the one expected."""
    found = file_hash(path)
    if found != sha256:
        raise PilotageError(
            f"extractor=inception: {path} has the SHA-256 {found}, and {sha256} is allowed only; "
            f"{remedy}."
        )


@contextmanager
def plain_execution() -> Iterator[None]:
    """The script's operations one by one: fused ones would change after the first few calls."""
    plain = torch.jit.optimized_execution(False)  # type: ignore[attr-defined] # it is public
    with torch.no_grad(), exact_convolutions(), plain:
        yield


def probe_images(device: torch.device) -> Tensor:
    """Two images on which two ways through a network are compared: ramps, in both directions."""
    ramp = torch.arange(SIDE, device=device) * 255 // SIDE
    grid = torch.stack([ramp.expand(SIDE, SIDE), ramp[:, None].expand(SIDE, SIDE)])
    return torch.stack([grid, 255 - grid, grid.flip(2)], dim=1).to(torch.uint8)


def agree(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding."""
    return a.shape == b.shape and bool((a - b).abs().max() <= 1e-3 * b.abs().max())


def find_output_weight(model: nn.Module, probe: Tensor, pooled: Tensor) -> Tensor | None:
    """The last layer's weights (K, D), if with them one pass gives what the script gives in two."""
    weight = getattr(getattr(model, "output", None), "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2 or weight.shape[1] != pooled.shape[1]:
        return None
    ours = (pooled.float() @ weight.float().T).softmax(1)
    return weight.float() if agree(ours, model(probe, no_output_bias=True)) else None


def find_spatial(
    model: nn.Module, probe: Tensor, pooled: Tensor
) -> Callable[[Tensor], Tensor] | None:
    """What maps images to sFID's features, if the script's layers can be run one by one.

    The published script does not return them, but holds its layers, in order, in ``layers``. They
    are used only if running them all gives the pooled features that the script itself gives.
    """
    layers = dict(layers_of(model))
    conv = getattr(layers.get("mixed_6"), "conv", None)
    if conv is None:
        return None
    names = list(layers)
    before = [layers[name] for name in names[: names.index("mixed_6")]]

    def run(images: Tensor, scale: tuple[float, float], through: list[nn.Module]) -> Tensor:
        x = (resize_tf1_bilinear(images, SIDE) - scale[0]) / scale[1]
        for layer in through:
            x = layer(x)
        return x

    for scale in SCALES:
        try:
            same = agree(run(probe, scale, list(layers.values())).flatten(1), pooled)
        except RuntimeError:  # not a plain sequence
            return None
        if same:
            return lambda images: run(images, scale, [*before, conv])[:, :SPATIAL_CHANNELS]
    return None


def layers_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Named children of ``layers``, if the script has it."""
    layers = getattr(model, "layers", None)
    return list(layers.named_children()) if isinstance(layers, nn.Module) else []


def resize_tf1_bilinear(
    images: Float[Tensor, "B C H W"], size: tuple[int, int] | int
) -> Float[Tensor, "B C h w"]:
    """``tf.image.resize_bilinear`` of TensorFlow 1 with its defaults.

    Output pixel i lies at input position i·in/out (``align_corners=False``,
    ``half_pixel_centers=False``), between its neighbours below and above, the last one repeated.
    There is no antialiasing: shrinking skips pixels. The result is not clipped or rounded.

    Args:
        images: of any number type; computed in float32.
        size: (h, w), or one number for both.
    """
    height, width = (size, size) if isinstance(size, int) else size
    x = images.float()
    upper, lower, down = neighbours(x.shape[2], height, x.device)
    left, right, across = neighbours(x.shape[3], width, x.device)
    x = between(x[..., left], x[..., right], across)
    return between(x[..., upper, :], x[..., lower, :], down[:, None])


def between(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Not `torch.lerp`, which rounds differently for shares over a half."""
    return first + (second - first) * share


def neighbours(size: int, new_size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each new pixel: its two neighbours and the share of the second."""
    position = torch.arange(new_size, dtype=torch.float32, device=device) * (size / new_size)
    first = position.floor().long().clamp(max=size - 1)
    return first, (first + 1).clamp(max=size - 1), position - first
