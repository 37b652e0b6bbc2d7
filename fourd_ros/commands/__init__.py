"""One module per noun of the ``fourd`` command.

A module offers ``HELP`` (one line), ``EXAMPLES`` (lines shown by ``--help``),
``add_arguments(parser)`` and ``run(args) -> int`` (the exit status).
"""
