"""How identification searches: the method for the gallery's size, its templates and indexes, and its agreement."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pgface.search.fit import (
        fit_search,
        fit_search_if_due,
        refresh_templates,
        suspend_index_search,
        vacuum_stale_templates,
    )
    from pgface.search.maintenance import SearchMaintainer
    from pgface.search.measure import wilson_interval
    from pgface.search.state import METHODS, SearchMethod, SearchState, read_search_state

__all__ = [
    "METHODS",
    "SearchMaintainer",
    "SearchMethod",
    "SearchState",
    "fit_search",
    "fit_search_if_due",
    "read_search_state",
    "refresh_templates",
    "suspend_index_search",
    "vacuum_stale_templates",
    "wilson_interval",
]

_MODULES: Final = {
    "METHODS": "state",
    "SearchMaintainer": "maintenance",
    "SearchMethod": "state",
    "SearchState": "state",
    "fit_search": "fit",
    "fit_search_if_due": "fit",
    "read_search_state": "state",
    "refresh_templates": "fit",
    "suspend_index_search": "fit",
    "vacuum_stale_templates": "fit",
    "wilson_interval": "measure",
}
"""The module of each name. A name is imported at its first use, because only some of the modules need NumPy."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value
