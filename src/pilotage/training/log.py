"""``metrics.jsonl``: what training measured, a line every few steps."""

import json
from pathlib import Path

from accelerate import Accelerator

from pilotage.training.trainer import StepRecord
from pilotage.utils.files import write_text


class MetricsLog:
    """``metrics.jsonl``: one line per ``every`` steps and per checkpoint, each step in one line."""

    def __init__(self, out: Path, step: int, every: int, accelerator: Accelerator) -> None:
        self.path = out / "metrics.jsonl"
        self.every = every
        self.accelerator = accelerator
        self.pending: list[StepRecord] = []
        if accelerator.is_main_process:
            for name in ("metrics", "health", "noise_levels"):
                _forget_after(out / f"{name}.jsonl", step)

    def add(self, record: StepRecord) -> None:
        """Note a step."""
        self.pending.append(record)
        if record.step % self.every == 0:
            self.flush()

    def flush(self) -> None:
        """Write the mean over the steps since the last line."""
        if not self.pending:
            return
        last, count = self.pending[-1], len(self.pending)
        values = {
            "loss": sum(r.loss for r in self.pending) / count,
            "grad_norm": sum(r.grad_norm for r in self.pending) / count,
            "learning_rate": last.learning_rate,
            **self._mean_terms(),
        }
        self.pending = []
        if self.accelerator.is_main_process:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": last.step, **values}) + "\n")
        self.accelerator.log(values, step=last.step)

    def _mean_terms(self) -> dict[str, float]:
        """Means over the steps that measured a term; some are not measured at every step."""
        found: dict[str, list[float]] = {}
        for record in self.pending:
            for name, value in record.terms.items():
                found.setdefault(name, []).append(value)
        return {name: sum(values) / len(values) for name, values in found.items()}


def _forget_after(path: Path, step: int) -> None:
    """Drop half-written lines, and those of steps that a killed run will take again."""
    if path.exists():
        kept = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
        write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
