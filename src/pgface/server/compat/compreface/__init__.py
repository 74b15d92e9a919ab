"""The REST API of CompreFace 1.2, for clients that were written for it.

Source of paths, fields and errors: the code of CompreFace 1.2.0 (Exadel, Apache-2.0), where it differs from its docs.
"""
