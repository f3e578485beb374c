"""Draw the README's figures from a finished screening.

python docs/make_figures.py demo/screening.yaml
"""

import sys
from pathlib import Path

from ionsieve.workflows.report.figures import correlation_figure, funnel_figure
from ionsieve.workflows.report.page import read_contents
from ionsieve.workflows.results.handle import Results

IMAGES = Path(__file__).parent / "images"


def main(path: str) -> None:
    """Write funnel.png and short_vs_long.png."""
    results = read_contents(Results.open(path))
    IMAGES.mkdir(exist_ok=True)
    funnel = funnel_figure(
        results.counts, len(results.accepted), len(results.rejected), results.log10_arrangements
    )
    short_vs_long = correlation_figure(results.conductors, results.screening.long_md.min_sigma_s_cm)
    for axes, name in ((funnel, "funnel.png"), (short_vs_long, "short_vs_long.png")):
        axes.figure.savefig(IMAGES / name, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main(sys.argv[1])
