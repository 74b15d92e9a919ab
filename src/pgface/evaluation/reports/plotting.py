"""The colours and the style of all plots."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from pgface.errors import PgfaceError
from pgface.system.extras import how_to_install

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The colours of Okabe and Ito, which people with any kind of colour vision can distinguish.
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
GREY = "#666666"
INK = "#333333"


def require_matplotlib() -> None:
    """Check that the packages for plots are installed.

    Raises:
        PgfaceError: matplotlib is not installed.

    """
    if importlib.util.find_spec("matplotlib") is None:
        raise PgfaceError(f"A plot needs matplotlib. Install it with {how_to_install('plots')}.")


def tidy(panel: Axes) -> None:
    """Draw a light grid behind the data, and no frame at the top and the right."""
    panel.grid(visible=True, color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(colors=INK, labelsize=8)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
