"""Liveness: checks that a camera sees a living head, and not a picture or video of one."""
