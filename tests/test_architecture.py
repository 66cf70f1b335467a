"""The rooms of the house: which may import which, and what importing must not load."""

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "loupe"
EVERYWHERE = {"errors", "options"}
PERMITTED = {
    "__init__": set(),
    "__main__": {"cli"},
    "card": {"task"},
    "certainty": {"task"},
    "cli": set(),  # stages are named as text and imported when their command runs
    "errors": set(),
    "family": {"phi3_v"},
    "options": set(),
    "phi3_v": set(),
    "pixels": set(),
    "task": set(),
    "tracking": set(),
    "vlm": {"family", "phi3_v"},
    "sample": {"task"},
    "build": {"pixels", "task", "vlm"},
    "predict": {
        "pixels",
        "vlm",
        "task",
        "build.dataset",
        "build.fetching",
        "build.hashing",
        "build.journal",
        "build.ledger",
        "build.parquet",
        "build.pictures",
        "build.progress",
        "build.rows",
        "build.sources",
        "build.table",
        "certainty",
    },
    "train": {
        "vlm",
        "phi3_v",
        "card",
        "task",
        "tracking",
        "build.dataset",
        "predict",
        "evaluate.scores",
    },
    "prefer": {"build.dataset", "evaluate.scores", "predict", "task", "tracking", "train", "vlm"},
    "calibrate": {
        "build.dataset",
        "certainty",
        "evaluate.figures",
        "evaluate.intervals",
        "evaluate.scores",
        "predict",
        "task",
    },
    "evaluate": {"build.dataset", "card", "certainty", "predict", "task"},
    "curve": {"build.dataset", "evaluate", "task", "train"},
    "doctor": {"phi3_v", "predict", "vlm"},
}
SELF_CONTAINED = {"phi3_v"}  # could be moved into transformers as it stands


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def own_imports(path):
    """Modules of ours that a file imports anywhere, as dotted names below `loupe`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ("loupe", *path.relative_to(PACKAGE).parent.parts)
            base = package[: len(package) - node.level + 1]
            names = [
                ".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names
            ]
        else:
            continue
        yield from (name.removeprefix("loupe.") for name in names if name.startswith("loupe."))


def is_permitted(room, imported):
    allowed = (
        PERMITTED[room]
        | {room}
        | (EVERYWHERE - SELF_CONTAINED if room not in SELF_CONTAINED else set())
    )
    return any(imported == name or imported.startswith(name + ".") for name in allowed)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_go_one_way(path):
    room = room_of(path)
    assert room in PERMITTED, f"{room} is no room of the plan; add it to docs/architecture.md"
    assert [name for name in own_imports(path) if not is_permitted(room, name)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "import loupe, loupe.options, loupe.task, loupe.errors",
        "from loupe.cli import main; main(['--help'])",
        "from loupe.cli import main\ntry: main(['train', '--help'])\nexcept SystemExit: pass",
    ],
    ids=["import", "help", "command help"],
)
def test_importing_and_help_load_no_heavy_package(statement):
    heavy = "{'torch', 'transformers', 'numpy', 'pyarrow', 'PIL', 'datasets'} & set(sys.modules)"
    code = f"import sys\n{statement}\nsys.exit(str({heavy}) if {heavy} else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_files_stay_small():
    long = {
        str(path.relative_to(PACKAGE)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := len(path.read_text("utf-8").splitlines())) > 400
    }
    assert long == {}


def test_no_folder_of_tests_is_left_out(request):
    """pytest's own default would skip every folder that is named `build`."""
    skipped = request.config.getini("norecursedirs")
    folders = {path.parent.name for path in Path(__file__).parent.rglob("test_*.py")}
    assert "build" in folders
    assert not [name for name in folders for pattern in skipped if fnmatch(name, pattern)]
