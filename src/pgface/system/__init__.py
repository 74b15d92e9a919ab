"""Helpers for the operating system: files, processes, signals, resources, and the installed packages."""
