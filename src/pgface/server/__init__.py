"""The web service: a REST API and pages over one gallery."""
