"""Errors a user can act on: each message names the value, the allowed range and the remedy."""


class StagewiseError(Exception):
    """Base of every error that is the user's to fix; stages print its message and exit with 2."""


class ConfigError(StagewiseError):
    """A configuration value is missing, misspelt, of the wrong type or out of range."""


class SchemaError(StagewiseError):
    """A stored file is missing, truncated, of another schema version or breaks its schema."""


class DivergenceError(StagewiseError):
    """Too few chains stayed finite to form an estimate."""


class BusyError(StagewiseError):
    """Another live process holds the lock; the message names its pid."""
