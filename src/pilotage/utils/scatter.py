"""Points as a picture."""

from pathlib import Path

import numpy as np

from pilotage.utils.files import whole_file


def save_scatter(
    points: np.ndarray, path: Path, title: str, real: np.ndarray | None = None
) -> None:
    """The first two coordinates of points (N, D) as a PNG, real ones in grey behind them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for cloud, colour, name in ((real, "0.8", "data"), (points, "C0", "samples")):
        if cloud is not None:
            axes.scatter(
                cloud[:, 0],
                cloud[:, min(1, cloud.shape[1] - 1)],
                s=2,
                color=colour,
                linewidths=0,
                label=name,
            )
    axes.set(title=title, aspect="equal")
    figure.legend(frameon=False, loc="outside lower center", ncols=2, markerscale=3)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
