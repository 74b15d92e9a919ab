"""The search of identification: its method, templates and indexes, and its agreement with the exact answer."""
