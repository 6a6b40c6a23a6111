"""Many checks: collecting them from files, running them, and the exit code that they add up to."""
