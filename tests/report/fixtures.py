"""Run folders with made-up numbers, for the report alone: nothing of them is a result."""

import hashlib
import json
import math

import numpy as np
from PIL import Image

from pilotage.folder import Card, DataFacts, write_card
from pilotage.settings import Recipe

IN_DOMAIN = {
    "name": "in-domain",
    "hash": "ab" * 32,
    "dimensions": 64,
    "resize": "none",
    "accuracy": 0.98,
}
REFERENCE = {"data": "digits", "split": "train", "n": 1618, "hash": "cd" * 32}


def make_run(folder, p_uncond=0.1, training=True, health=True):
    """A run folder with a card, and training and health curves if wanted."""
    folder.mkdir(parents=True)
    recipe = Recipe(p_uncond=p_uncond)
    facts = DataFacts(
        shape=(1, 8, 8),
        classes=tuple("0123456789"),
        train=1618,
        held_out=179,
        fingerprint="cd" * 32,
    )
    write_card(folder, Card(recipe, facts))
    noise = np.random.default_rng(int(p_uncond * 100))
    if training:
        lines = [_training(step, noise) for step in range(10, 1001, 10)]
        write_lines(folder / "metrics.jsonl", lines)
    if health:
        lines = [_health(step, noise) for step in range(100, 1001, 100)]
        write_lines(folder / "health.jsonl", lines)
    return folder


def _training(step, noise):
    return {
        "step": step,
        "loss": float((0.04 + math.exp(-step / 150)) * noise.normal(1, 0.08)),
        "grad_norm": float(0.3 + noise.gamma(2, 0.1)),
        "learning_rate": 2e-3 * min(1, step / 100),
    }


def _health(step, noise):
    drift = float(0.4 * math.exp(-step / 200) + noise.uniform(0, 0.02))
    said = ["samples' channel means are 0.31 of the data's away"] if step < 300 else []
    return {
        "step": step,
        "channel_mean_drift": {"0": drift, "1": -drift / 2},
        "clipped_fraction": float(0.02 + noise.uniform(0, 0.01)),
        "spread_ratio": float(1 - 0.3 * math.exp(-step / 300)),
        "ema_raw_gap": float(0.2 * math.exp(-step / 400)),
        "nearest_train_distance": float(0.3 + noise.uniform(0, 0.02)),
        "warnings": said,
    }


def sample_row(w, steps=64, **changes):
    """A row of a sweep whose numbers have the paper's shape; changed as asked."""
    p_uncond = changes.get("p_uncond", 0.1)
    sampler = changes.get("sampler", "ancestral")
    worse = 1 + p_uncond / 2 + 16 / steps
    frechet = (1.4 + 6 * (math.sqrt(w + 0.02) - 0.5) ** 2) * worse
    key = f"{changes.get('run_hash', '11')}{p_uncond}{w}{steps}{sampler}{changes.get('n', 2000)}"
    row = {
        "id": hashlib.sha256(key.encode()).hexdigest()[:16],
        "kind": "sample",
        "run": "runs/digits",
        "run_hash": "11" * 32,
        "step": 1000,
        "p_uncond": p_uncond,
        "w": w,
        "guidance_scale": 1 + w,
        "steps": steps,
        "sampler": sampler,
        "v": 0.3 if sampler == "ancestral" else None,
        "eta": 0.0 if sampler == "ddim" else None,
        "n": 2000,
        "seeds": [0, 2000],
        "extractor": IN_DOMAIN,
        "reference": REFERENCE,
        "convention": "(1 + w) * conditional - w * unconditional; guidance_scale = 1 + w",
        "code": "0.1.0",
        "metrics": {
            "frechet": [frechet, 0.012 + frechet / 90],
            "spatial_frechet": [frechet * 3.1, 0.09],
            "inception_score": [8.4 + 1.3 * (1 - math.exp(-1.3 * w)) - 4 / steps, 0.031],
            "precision": [0.78 + 0.18 * (1 - math.exp(-w)), 0.006],
            "recall": [0.75 * math.exp(-0.35 * w), 0.009],
            "density": [0.9 + 0.2 * w / (1 + w), math.nan],
            "coverage": [0.93 - 0.05 * w, 0.007],
            "kernel": [frechet / 2000, 0.00004],
            "accuracy": [min(1.0, 0.93 + 0.03 * w), 0.004],
            "clipped_fraction": [0.21 + 0.04 * w, 0.002],
        },
        "network_calls": steps * 32,
        "seconds": 12.3 * steps / 64,
        "preview": None,
    }
    return row | changes


def real_row(**changes):
    """The floor: what real images reach."""
    row = {
        "id": "f" * 16,
        "kind": "real",
        "run": "runs/digits",
        "n": 179,
        "extractor": IN_DOMAIN,
        "reference": REFERENCE,
        "code": "0.1.0",
        "metrics": {
            "frechet": [0.93, 0.05],
            "spatial_frechet": [3.2, 0.2],
            "inception_score": [9.32, 0.08],
            "precision": [0.91, 0.02],
            "recall": [0.86, 0.01],
        },
        "preview": None,
    }
    return row | changes


def write_lines(path, lines):
    """JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_sweep(folder, rows):
    """The table of a run."""
    write_lines(folder / "sweep" / "rows.jsonl", rows)


def write_preview(folder, row, sharpness):
    """A strip of made-up pictures, and its name in the row."""
    name = f"sweep/previews/{row['id']}.png"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    image = np.full((19, 107), 255, np.uint8)
    for k in range(20):
        cell = np.random.default_rng(k).normal(size=(8, 8))
        top, left = k // 10 * 11, k % 10 * 11
        image[top : top + 8, left : left + 8] = np.clip(128 + 60 * sharpness * cell, 0, 255)
    Image.fromarray(image).save(folder / name)
    return row | {"preview": name}
