"""Reaching and keeping the server; knows no pixels."""
