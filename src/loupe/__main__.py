"""`python -m loupe`: the command line."""

from loupe.cli import main

raise SystemExit(main())
