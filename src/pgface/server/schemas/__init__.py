"""The requests and responses of the REST API, a module for each resource."""
