"""Liveness: is this a living head, or something that shows one?"""
