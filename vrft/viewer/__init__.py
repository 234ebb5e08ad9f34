"""The page in which runs and evaluations are looked at: one static app with its data beside it.

``views`` finds out what a path holds. ``answers`` and ``run`` make its documents: small pieces of
JSON, each made when the app asks for it. ``site`` names them all, ``serve`` answers the app on
localhost and ``export`` writes them to a folder that opens from disk.
"""
