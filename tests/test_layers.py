"""The house: imports go down the floors of this list, and never in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "pilotage"

# ground floor first; a module may import from its own floor (without a circle) and from those below
FLOORS = [
    {"errors", "version"},
    {"utils"},
    {"diffusion", "networks"},
    {"conditions", "settings"},
    {"objectives", "data", "recipes"},
    {"metrics", "models"},
    {"training"},
    {"sweep", "report", "interop"},
    {"tasks", "cli", "__main__", "__init__"},
]
FLOOR_OF = {name: level for level, names in enumerate(FLOORS) for name in names}


def modules():
    return {
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): path
        for path in sorted(SOURCE.rglob("*.py"))
    }


def imported(path, known):
    """Names of the package's modules that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        else:
            continue
        for name in names:
            for candidate in (name, f"{name}.__init__"):
                if candidate in known:
                    found.add(candidate)
                    break
    return found


def graph():
    known = modules()
    return {name: imported(path, known) for name, path in known.items()}


def floor(module):
    return FLOOR_OF[module.split(".")[1]]


def rooms(edges):
    """Which top-level folders import which others of their own floor."""
    found = {}
    for a, targets in edges.items():
        room = found.setdefault(a.split(".")[1], set())
        room |= {b.split(".")[1] for b in targets if floor(a) == floor(b)}
    return found


def upward(edges):
    return [(a, b) for a, targets in edges.items() for b in targets if floor(a) < floor(b)]


def circle(edges):
    """Some modules that import each other in a ring, or None."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return None
        path.append(module)
        for target in sorted(edges[module] - {module}):
            ring = visit(target)
            if ring:
                return ring
        path.pop()
        done.add(module)
        return None

    for module in edges:
        ring = visit(module)
        if ring:
            return ring
    return None


def test_every_module_has_a_floor():
    assert {name.split(".")[1] for name in modules()} <= set(FLOOR_OF)


def test_modules_of_one_name_do_the_same():
    roles = {"__init__", "tensors", "infer", "published", "runs"}  # the same in every origin
    names = [name.split(".")[-1] for name in modules()]
    assert {name for name in names if names.count(name) > 1} <= roles


def test_nothing_lies_loose_on_top():
    loose = {path.name for path in SOURCE.iterdir() if path.is_file()}
    assert loose == {"__init__.py", "__main__.py", "errors.py", "version.py", "py.typed"}
    assert len(FLOORS) <= 9
    assert len(FLOOR_OF) <= 21


def test_imports_only_go_down():
    assert upward(graph()) == []


def test_rooms_of_one_floor_import_each_other_in_no_circle():
    assert circle(rooms(graph())) is None


def test_no_module_imports_itself_through_others():
    # a package's __init__ gathers its own files and is the face of the package, not a room in it
    edges = {a: {b for b in t if not b.endswith("__init__")} for a, t in graph().items()}
    assert circle(edges) is None


def test_the_walk_sees_what_it_forbids():
    edges = {
        "pilotage.diffusion.steps": {"pilotage.cli.main"},
        "pilotage.cli.main": {"pilotage.tasks.demo"},
        "pilotage.tasks.demo": {"pilotage.cli.main"},
    }
    assert upward(edges) == [("pilotage.diffusion.steps", "pilotage.cli.main")]
    assert circle(edges) == ["pilotage.cli.main", "pilotage.tasks.demo"]
    assert "pilotage.diffusion.logsnr" in graph()["pilotage.diffusion.steps"]
    assert "pilotage.tasks.studies" in graph()["pilotage.cli.commands"], (
        "imports inside functions count"
    )


def test_networks_know_torch_only():
    edges = graph()
    for name, targets in edges.items():
        if name.startswith("pilotage.networks"):
            outside = {t for t in targets if not t.startswith("pilotage.networks")}
            assert outside <= {"pilotage.errors"}, name


@pytest.mark.parametrize("code", ["import pilotage", "import pilotage.cli.main"])
def test_heavy_packages_wait_until_they_are_used(code):
    heavy = ("torch", "datasets", "matplotlib", "sklearn", "accelerate", "pandas", "scipy", "numpy")
    check = f"{code}; import sys; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer
