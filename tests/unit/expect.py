"""The one assertion helper that pytest and MicroPython share."""


def raises(kind, code, call, *args):
    """Run `call(*args)`; it must raise `kind`, with `.code == code` unless code is None.

    Returns the error.
    """
    try:
        call(*args)
    except kind as err:
        got = getattr(err, "code", None)
        assert code is None or got == code, "expected code {}, got {}".format(code, got)
        return err
    raise AssertionError("nothing raised, expected {} {}".format(kind.__name__, code))
