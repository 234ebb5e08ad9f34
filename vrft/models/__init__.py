"""Models of every family behind one face: the only room that knows one family from another."""

from vrft.models.loaded import LoadedModel
from vrft.models.loading import load_model, save_model

__all__ = ["LoadedModel", "load_model", "save_model"]
