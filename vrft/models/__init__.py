"""Models of every family behind one face: the only room that knows one family from another."""

from vrft.models.folders import is_adapter
from vrft.models.loaded import LoadedModel
from vrft.models.loading import load_model, save_model

__all__ = ["LoadedModel", "is_adapter", "load_model", "save_model"]
