"""One module per noun of the ``fourd`` command.

A module offers ``EXAMPLES`` (lines shown by ``--help``),
``add_arguments(parser)`` and ``run(args) -> int`` (the exit status).
"""
