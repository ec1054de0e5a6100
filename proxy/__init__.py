"""noetl-edge: an API gateway in front of a NoETL workflow server."""

__version__ = "0.1.0"
