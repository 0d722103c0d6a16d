"""What can go wrong, by who can mend it."""


class SvlsError(Exception):
    """Base of every error that a user, not a developer, can mend."""


class InvalidParameterError(SvlsError, ValueError):
    """A parameter is out of its range, or does not go with another."""


class InputError(SvlsError, ValueError):
    """An input file, list or table is not what it has to be."""


class StoreError(SvlsError, ValueError):
    """A store is not ours, is of another format, or holds something else."""


class DeviceError(SvlsError, RuntimeError):
    """The GPU fails at its work."""


class WorkersError(SvlsError, RuntimeError):
    """Worker processes cannot be started, or a cluster's cannot be used."""


class UnreachableError(SvlsError, RuntimeError):
    """An object store does not answer, or does not let us in."""


class UnknownCaseError(SvlsError, LookupError):
    """A case is asked for that the store does not hold."""
