"""The person's own code: how it is called, how it is differentiated, and where it may go wrong besides."""
