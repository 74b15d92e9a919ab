"""Looks at the sessions of a network."""

from __future__ import annotations

from typing import Any


def runs_one_thread_that_does_not_spin(network: Any) -> bool:
    """Whether the session that ONNX Runtime uses under load has these options."""
    options = network._session.get_session_options()
    return (options.intra_op_num_threads, options.inter_op_num_threads) == (
        1,
        1,
    ) and options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
