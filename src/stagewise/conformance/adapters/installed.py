"""Versions of other people's libraries, or how to get them."""

from importlib.metadata import PackageNotFoundError, version

from stagewise.errors import ConfigError


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution.

    Raises:
        ConfigError: If it is not installed; the message says how to install it.
    """
    try:
        return version(distribution)
    except PackageNotFoundError:
        raise ConfigError(
            f"the sampler of {distribution!r} is asked for and not installed: "
            "pip install stagewise[bench], or leave it out of conformance.samplers"
        ) from None
