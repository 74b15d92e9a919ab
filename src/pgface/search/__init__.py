"""How identification searches: the method for the gallery's size, its templates and indexes, and its agreement."""

from pgface.search.fit import fit_search, fit_search_if_due, refresh_templates, suspend_first_look, sweep_notes
from pgface.search.keeper import SearchKeeper
from pgface.search.measure import wilson_interval
from pgface.search.state import METHODS, SearchMethod, SearchState, read_search_state

__all__ = [
    "METHODS",
    "SearchKeeper",
    "SearchMethod",
    "SearchState",
    "fit_search",
    "fit_search_if_due",
    "read_search_state",
    "refresh_templates",
    "suspend_first_look",
    "sweep_notes",
    "wilson_interval",
]
