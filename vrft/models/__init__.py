"""Models of every family behind one face: the only room that knows one family from another."""

from vrft.models.loading import LoadedModel, load, save

__all__ = ["LoadedModel", "load", "save"]
