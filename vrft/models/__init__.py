"""Models of every family behind one face: the only room that knows one family from another."""

from vrft.models.loading import LoadedModel, load_model, save_model

__all__ = ["LoadedModel", "load_model", "save_model"]
