"""`python -m loupe`: the command line."""

import sys

try:
    from loupe.cli import main

    code = main()
except KeyboardInterrupt:  # before a command could take it
    print("\nloupe: stopped by the keyboard.", file=sys.stderr)
    code = 130
raise SystemExit(code)
