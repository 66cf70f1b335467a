import subprocess
import sys

import pytest

LOADS = """
import sys
import transformers
from transformers import CONFIG_MAPPING
import loupe.phi3_v
assert "phi3_v" not in CONFIG_MAPPING, "importing registers"
loupe.phi3_v.register()
loupe.phi3_v.register()
assert "phi3_v" in CONFIG_MAPPING
assert "torchvision" not in sys.modules
others = [m for m in sys.modules if m.startswith("loupe.") and not m.startswith("loupe.phi3_v")]
assert not others, others
"""


@pytest.mark.parametrize("code", [LOADS], ids=["fresh"])
def test_importing_registers_nothing_and_registering_twice_is_harmless(code):
    subprocess.run([sys.executable, "-c", code], check=True)
