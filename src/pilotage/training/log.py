"""JSON-lines files: ``metrics.jsonl``, and those of callbacks."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from pilotage.training.trainer import StepRecord
from pilotage.utils.files import write_text
from pilotage.utils.parsing import parse_json


def append_line(path: Path, content: Mapping[str, Any]) -> None:
    """Append a line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(content) + "\n")


def logged_steps(path: Path) -> set[float]:
    """The steps that the lines of a file tell of."""
    return {_step_of(line) for line in path.read_text().splitlines()} if path.exists() else set()


def forget_after(path: Path, step: int) -> None:
    """Remove incomplete lines, and those of steps that a resumed run will repeat."""
    if path.exists():
        kept = [
            line for line in path.read_text(errors="replace").split("\n") if _step_of(line) <= step
        ]
        write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return float(parse_json(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


class MetricsLog:
    """``metrics.jsonl``: one line per ``every`` steps and per checkpoint, each step in one line."""

    name = "metrics"

    def __init__(self, out: Path, every: int, accelerator: Accelerator) -> None:
        self.path = out / f"{self.name}.jsonl"
        self.every = every
        self.accelerator = accelerator
        self.pending: list[StepRecord] = []

    def add(self, record: StepRecord) -> None:
        """Add a step."""
        self.pending.append(record)
        if record.step % self.every == 0:
            self.flush()

    def flush(self) -> None:
        """Write the mean over the steps since the last line."""
        if not self.pending:
            return
        last = self.pending[-1]
        values = {
            "loss": _mean(r.loss for r in self.pending),
            "grad_norm": _mean(r.grad_norm for r in self.pending),
            "learning_rate": last.learning_rate,
            **self._mean_terms(),
        }
        self.pending = []
        if self.accelerator.is_main_process:
            append_line(self.path, {"step": last.step, **values})
        self.accelerator.log(values, step=last.step)

    def _mean_terms(self) -> dict[str, float]:
        """Return means over the steps that measured a term; not every step measures all."""
        found: dict[str, list[float]] = {}
        for record in self.pending:
            for name, value in record.terms.items():
                found.setdefault(name, []).append(value)
        return {name: _mean(values) for name, values in found.items()}


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
