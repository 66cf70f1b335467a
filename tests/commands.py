"""The real commands, each in a process of its own."""

import subprocess
import sys


def loupe(*words, check=True):
    """Run `loupe` with these words; where it is checked, it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", "loupe", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done
