"""Features of a small classifier trained on the dataset itself.

They need no download and fit any images, but a distance in them is not plain FID and compares only
with distances under the same content hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from pilotage.data.image_data import LabelledData
from pilotage.errors import PilotageError
from pilotage.metrics.extractors.extractor import (
    Extractor,
    batches,
    cache_folder,
    check_images,
    exact_convolutions,
    one_at_a_time,
    pick_device,
    to_array,
)
from pilotage.metrics.extractors.rotations import NAME as ROTATIONS
from pilotage.metrics.extractors.rotations import turned
from pilotage.metrics.extractors.small_resnet import Classifier
from pilotage.metrics.features import Features, present
from pilotage.utils.files import (
    content_hash,
    read_metadata,
    read_tensors,
    write_tensors,
    write_text,
)
from pilotage.utils.images import from_uint8
from pilotage.utils.seeding import derived_generator, derived_seed

Say = Callable[[str], None]

NAME = "in-domain"
CODE_VERSION = 1  # raise it whenever the same settings would train another classifier

IMAGES_SEEN = {"cpu": 80_000, "accelerator": 1_500_000}
MAX_PASSES = {"cpu": 16, "accelerator": 40}
PEAK_LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.02
SHIFT = 8  # images are shifted by up to an eighth of their side


@dataclass(frozen=True)
class Facts:
    """All that decides the training, and so the name of the cache file."""

    version: int
    fingerprint: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    seed: int
    passes: int
    flip: bool

    @property
    def key(self) -> str:
        """File name without its ending."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{NAME}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


class InDomain(Extractor):
    """The trained classifier as an `Extractor`; made by `in_domain`."""

    name = NAME

    def __init__(
        self, network: Classifier, facts: Facts, accuracy: float | None, device: torch.device
    ):
        self.shape, self.classes, self.accuracy = facts.shape, facts.classes, accuracy
        self.dimensions = network.dimensions
        self.hash = weights_hash(network.state_dict(), facts.shape)
        self._device = device
        self._network = network.eval().requires_grad_(False).to(device)

    def weights(self) -> dict[str, Tensor]:
        """Parameters and the norms' running statistics, by name."""
        return self._network.state_dict()

    def __call__(self, images: Tensor) -> Features:
        """Features of uint8 images (B, C, H, W) of the training set's shape."""
        check_images(images)
        if tuple(images.shape[1:]) != self.shape:
            raise PilotageError(
                f"images of shape {tuple(images.shape[1:])} are not allowed; this in-domain "
                f"extractor was trained on {self.shape}."
            )
        with torch.inference_mode(), exact_convolutions():
            seen = self._network(from_uint8(images.to(self._device)))
        return Features(*map(to_array, seen))


class InDomainRotations(Extractor):
    """The classifier of rotations as an `Extractor`; made by `in_domain`.

    Its features are of images as they are. There are no logits: they would be of angles and not of
    anything that is in the images, so there is no Inception score.

    Attributes:
        angles: how many are told apart.
        accuracy: share of held-out images, each turned by every angle, whose angle is right; None
            without any.
    """

    name = ROTATIONS

    def __init__(self, classifier: InDomain):
        self._classifier, self.angles = classifier, len(classifier.classes)
        self.dimensions, self.accuracy = classifier.dimensions, classifier.accuracy
        self.hash = hashlib.sha256(f"{ROTATIONS} {classifier.hash}".encode()).hexdigest()

    def __call__(self, images: Tensor) -> Features:
        """Features of uint8 images (B, C, H, W) of the training set's shape."""
        return self._classifier(images)._replace(logits=None)

    def chance(self, classes: int) -> float:
        """The accuracy of guessing the angle, whatever the data's classes."""
        return 1 / self.angles


class Settings(TypedDict, total=False):
    """The keyword arguments of `in_domain`."""

    seed: int
    cache: str | Path | None
    device: torch.device | str | None
    passes: int | None
    flip: bool
    say: Say


def in_domain(
    train: LabelledData,
    held_out: LabelledData,
    *,
    seed: int = 0,
    cache: str | Path | None = None,
    device: torch.device | str | None = None,
    passes: int | None = None,
    flip: bool = False,
    say: Say = print,
) -> InDomain | InDomainRotations:
    """The classifier of a dataset: from the cache, else trained and put there.

    Images of one class only have nothing to be told apart by but how they are turned, so for these
    it is the classifier of their rotations, see `rotations`, trained in the same way. Its passes
    are over every image in every rotation.

    On the CPU the same arguments and number of threads give the same weights, bit for bit; on a GPU
    they may differ in the last bits, and so does the hash. To use one extractor on many machines,
    copy its cache file and give the same ``passes``. Of several processes that ask at the same
    time on one machine, one trains and the others read.

    Args:
        train: images, whose classes are told apart if there are two at least.
        held_out: images of the same shape and classes for the accuracy; may be empty.
        seed: of the initial weights, the order and the shifts.
        cache: folder of trained classifiers; None: ``~/.cache/pilotage/extractors``, or below
            ``XDG_CACHE_HOME``.
        device: where to train and run; None: this process's own.
        passes: over the training images. None: as many as suit their number, and more on a GPU: 16
            for digits, 1 for MNIST on a CPU; 30 for CIFAR-10 on a GPU.
        flip: mirror half of the training images, left to right.
        say: receives one-line notes.

    Raises:
        PilotageError: if a setting is not allowed, or there are no training images.
    """
    unlabelled = len(np.unique(train.labels)) == 1
    if unlabelled:
        train, held_out, flip = turned(train, mirrored=flip), turned(held_out), False
    check(train, held_out, seed, passes)
    device = pick_device(device)
    if passes is None:
        passes = suitable_passes(len(train), device)
    channels, height, width = train.shape
    shape = (channels, height, width)
    facts = Facts(
        CODE_VERSION, train.fingerprint, shape, train.classes, int(seed), int(passes), flip
    )
    path = cache_folder(cache) / f"{facts.key}.safetensors"
    with one_at_a_time(path.with_suffix(".lock")):
        classifier = read_cache(path, facts, held_out, device, say)
        if classifier is None:
            kind = "rotated images" if unlabelled else "images"
            say(f"in-domain extractor: training on {len(train)} {kind}, passes: {passes}")
            classifier = InDomain(fit(train, facts, device), facts, None, device)
            classifier.accuracy = accuracy(classifier, held_out)
            write_cache(path, classifier, facts, held_out)
    found = InDomainRotations(classifier) if unlabelled else classifier
    tell(found, say)
    return found


def tell(extractor: Extractor, say: Say) -> None:
    """Say how good it is."""
    score = "unknown" if extractor.accuracy is None else f"{extractor.accuracy:.2%}"
    say(f"{extractor.name} extractor {extractor.hash[:12]}: held-out accuracy {score}")


def check(train: LabelledData, held_out: LabelledData, seed: int, passes: int | None) -> None:
    """Raise PilotageError unless these can be trained with."""
    if not len(train):
        raise PilotageError("extractor=in-domain is not allowed without any training images.")
    if len(held_out) and (held_out.shape, held_out.classes) != (train.shape, train.classes):
        raise PilotageError(
            f"held_out of shape {held_out.shape} with {len(held_out.classes)} classes is not "
            f"allowed; the training images are {train.shape} with {len(train.classes)} classes, "
            "and both must agree."
        )
    for name, value, least in (("seed", seed, 0), ("passes", 1 if passes is None else passes, 1)):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < least:
            raise PilotageError(
                f"{name}={value!r} is not allowed; give a whole number from {least}."
            )


def suitable_passes(images: int, device: torch.device) -> int:
    """Passes that show about `IMAGES_SEEN` images, at most `MAX_PASSES`."""
    kind = "cpu" if device.type == "cpu" else "accelerator"
    return min(MAX_PASSES[kind], max(1, round(IMAGES_SEEN[kind] / images)))


def fit(train: LabelledData, facts: Facts, device: torch.device) -> Classifier:
    """A classifier trained by AdamW in one cycle of the learning rate (1708.07120)."""
    network = new_network(facts).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    batches = list(batches_of(train, facts))
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, total_steps=len(batches)
    )
    with exact_convolutions():
        for step, rows in enumerate(batches):
            images = augmented(train.batch(rows), facts, step)
            labels = torch.from_numpy(train.labels[rows]).to(device)
            loss = cross_entropy(network(from_uint8(images.to(device))).logits, labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            cycle.step()
    return network


def new_network(facts: Facts) -> Classifier:
    """Fresh weights by the seed; the global generators are as before."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(derived_seed(facts.seed, NAME, "weights"))
        return Classifier(facts.shape, len(facts.classes))


def batches_of(train: LabelledData, facts: Facts) -> Iterator[NDArray[np.int64]]:
    """Row numbers of each step; what is left of a pass waits for another shuffle."""
    size = min(len(train), 64 if len(train) < 10_000 else 128)
    for k in range(facts.passes):
        random = derived_generator(facts.seed, NAME, "order", k)
        order = torch.randperm(len(train), generator=random).numpy()
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]


def augmented(images: Tensor, facts: Facts, step: int) -> Tensor:
    """Each image shifted by its own few pixels, edges repeated, and perhaps mirrored."""
    random = derived_generator(facts.seed, NAME, "augment", step)
    B, _, H, W = images.shape
    down, right = (
        torch.randint(2 * (side // SHIFT) + 1, (B, 1), generator=random) for side in (H, W)
    )
    rows, columns = down + torch.arange(H), right + torch.arange(W)
    if facts.flip:
        mirrored = torch.rand(B, 1, generator=random) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    margins = (W // SHIFT, W // SHIFT, H // SHIFT, H // SHIFT)
    padded = pad(images.float(), margins, mode="replicate").to(torch.uint8)
    picked = padded[torch.arange(B)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).contiguous()  # from (B, H, W, C)


def accuracy(extractor: InDomain, images: LabelledData) -> float | None:
    """Fraction that is classified as labelled; None without images."""
    if not len(images):
        return None
    right = 0
    for rows in batches(len(images)):
        logits = present(extractor(images.batch(rows)).logits, "logits")
        right += int((logits.argmax(1) == images.labels[rows]).sum())
    return right / len(images)


def weights_hash(weights: dict[str, Tensor], shape: tuple[int, int, int]) -> str:
    """The content hash of a classifier for images of this shape."""
    facts = {"name": NAME, "version": CODE_VERSION, "shape": shape, "input": "u/127.5 - 1"}
    return content_hash(weights, facts)


def write_cache(path: Path, extractor: InDomain, facts: Facts, held_out: LabelledData) -> None:
    """Weights and facts as safetensors, and the facts once more as JSON, to be looked at."""
    content = {
        "hash": extractor.hash,
        "accuracy": extractor.accuracy,
        "held_out": held_out.fingerprint,
        **asdict(facts),
    }
    weights = {name: tensor.cpu() for name, tensor in extractor.weights().items()}
    text = json.dumps(content, indent=1)
    try:
        write_tensors(path, weights, facts=text)
        write_text(path.with_suffix(".json"), text + "\n")
    except (OSError, SafetensorError) as error:
        raise PilotageError(
            f"cache={str(path.parent)!r} is not allowed ({error}); give a folder that can be "
            "written."
        ) from None


def read_cache(
    path: Path, facts: Facts, held_out: LabelledData, device: torch.device, say: Say
) -> InDomain | None:
    """The cached extractor; None if there is none, or, with a word, if it is damaged."""
    if not path.exists():
        return None
    try:
        content = json.loads(read_metadata(path)["facts"])
        network = new_network(facts)
        network.load_state_dict(read_tensors(path))
        found = InDomain(network, facts, content["accuracy"], device)
        if found.hash != content["hash"]:
            raise ValueError("its weights are not those of its hash")
        same = content["held_out"] == held_out.fingerprint
    except (ValueError, KeyError, RuntimeError, TypeError, OSError) as error:  # any kind of damage
        reason = " ".join(str(error).split())[:200]
        say(f"in-domain extractor: {path} is damaged ({reason}); training again")
        return None
    if not same:
        found.accuracy = accuracy(found, held_out)
    return found
