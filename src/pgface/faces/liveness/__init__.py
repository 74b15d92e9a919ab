"""Liveness: whether a camera sees a living head, or a picture or video of one."""
