"""The limits (12)–(17) drawn: errors against what goes to zero, with their fitted slopes."""

import pathlib

import jax
import numpy as np

from lagrangian_learning.report.limits import Limit, limit_study


def draw(limits: tuple[Limit, ...], path: str | pathlib.Path) -> pathlib.Path:
    """One log-log picture of all limits with their fitted slopes."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for limit, marker in zip(limits, "os^x", strict=True):
        axes.loglog(limit.parameter, limit.error, marker=marker, label=f"{limit.name}   (slope {limit.slope:.2f})")
    span = np.array([limits[0].parameter[-1], limits[0].parameter[0]])
    axes.loglog(span, limits[0].error[-1] / 3 * span / span[0], "k:", label="slope 1")
    axes.set(xlabel="what goes to zero", ylabel="error of the weights at t = 2", title="The limits of the action")
    axes.legend(fontsize=8, frameon=False)
    axes.grid(alpha=0.3)
    path = pathlib.Path(path)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def main() -> None:
    """Print the slopes and write limit_study.png."""
    jax.config.update("jax_enable_x64", True)
    limits = limit_study()
    for limit in limits:
        errors = ", ".join(f"{error:.3g}" for error in limit.error)
        print(f"{limit.name}: slope {limit.slope:.3f}\n    {errors}")
    print("picture:", draw(limits, "limit_study.png"))


if __name__ == "__main__":
    main()
