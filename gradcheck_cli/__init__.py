"""gradcheck: is this gradient right?"""

__version__ = "0.1.0"
