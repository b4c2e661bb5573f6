"""The Territory Information Model: everything true without files, tiles or HTTP."""

__version__ = "0.1.0"
