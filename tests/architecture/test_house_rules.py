"""What every file keeps to: its size, its words, and that whatever is declared in one table is used by the next."""

import ast
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from models.actions.unit import PUBLISH
from models.rules.events import REACTIONS
from resolvers.may import MAY
from schema.mutations import Mutation
from workers.kinds import HANDLERS, RECURRING

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 300
MOST_LINES_OF_TESTS = 550
LONGER = {
    "app.py": "the composition root: each part is named once, and the commands beside it",
    "local/sandbox/stripe/shapes.py": "the vendor's objects, a field a line",
    "models/migrations/0001_initial.py": "generated",
    "tests/actions/test_invoice_actions.py": "the document's figures, paragraph by paragraph",
    "tests/api/test_bad_input.py": "one process takes all the bad input, and its log is read at the end",
    "tests/api/test_mutations.py": "an example of each mutation, a few lines each",
    "models/ports.py": "every port with its words, and nothing that runs",
    "models/rules/facts.py": "every fact with its words, and nothing that runs",
    "schema/enums.py": "a word a line",
    "schema/filters.py": "a declaration a line",
    "schema/inputs.py": "a declaration a line",
    "schema/mutations.py": "a declaration a line",
}
WORDLESS = {  # steps of one algorithm, told together at the top of their module
    ("local/sandbox/stripe/subscriptions.py", "line_for"),
    *(("resolvers/reads/compile.py", name) for name in ("alias", "collect", "columns", "object")),
}
VENDORED = re.compile(r"resolvers/explorer/(?!app\.|index\.)")
OTHERS_NAMES = {("how it came to be", "tests/clients/generators/package-lock.json")}  # names of packages
LISTS_THEM = {"tests/docs/test_docs.py"}  # looks for some of the same words in the documentation
# Written so that no pattern finds itself.
FOREIGN = {
    "a registry's host": r"pypi\.org|files\.pythonhosted|registry\.npmjs|crates\.io|proxy\.golang",
    "a path of one machine": r"/wor[k]/|/hom[e]/\w|/tm[p]/build",
    "how it came to be": r"helpe[r]-\w|issu[e] #\d|sub-?agen[t]|(?:this|previous|earlier) chat sessio[n]|BRIEF\.m[d]",
}
RUN_OF_WORDS = 12


def committed(*suffixes: str) -> list[str]:
    """The files of the repository, of any kind or of these."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.split("\0") if (ROOT / name).is_file()]
    return [name for name in names if not suffixes or name.endswith(suffixes)]


def text(name: str) -> str:
    return (ROOT / name).read_text(errors="replace")


def test_files_are_short() -> None:
    lengths = {name: len(text(name).splitlines()) for name in committed(".py")}
    limits = {name: MOST_LINES_OF_TESTS if name.startswith("tests/") else MOST_LINES for name in lengths}
    assert {name for name in lengths if lengths[name] > limits[name]} <= LONGER.keys()


def _public(name: str, body: Iterable[ast.stmt]) -> Iterator[tuple[str, str, ast.AST]]:
    for each in body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if each.name.startswith("_") or each.name == "Meta":
                continue
            yield name, each.name, each
            if isinstance(each, ast.ClassDef):
                yield from _public(name, each.body)


def test_what_is_public_says_what_it_does() -> None:
    silent = set()
    for name in committed(".py"):
        if name.startswith(("tests/", "models/migrations/0")):
            continue
        module = ast.parse(text(name))
        assert ast.get_docstring(module), name
        for file, word, node in _public(name, module.body):
            if not ast.get_docstring(node):  # type: ignore[arg-type]  # a function or a class
                silent.add((file, word))
    assert silent <= WORDLESS


@pytest.mark.parametrize("what", FOREIGN)
def test_no_file_tells(what: str) -> None:
    pattern = re.compile(FOREIGN[what], re.IGNORECASE)
    ours = [name for name in committed() if not VENDORED.match(name) and name not in LISTS_THEM]
    ours = [name for name in ours if (what, name) not in OTHERS_NAMES]
    assert {name: hit[0] for name in ours if (hit := pattern.search(text(name)))} == {}


def _runs(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + RUN_OF_WORDS]) for start in range(len(words) - RUN_OF_WORDS + 1)}


def _words(of: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", of.lower())


def test_no_sentence_of_the_documents_is_copied() -> None:
    documents = sorted((ROOT.parent / "shared" / "sources").glob("*.txt"))
    if not documents:
        pytest.skip("the source documents are not on this machine")
    theirs = set().union(*(_runs(_words(document.read_text(errors="replace"))) for document in documents))
    kinds = (".py", ".md", ".graphql", ".html", ".toml", ".json")
    copied = {
        name: " ".join(min(shared))
        for name in committed(*kinds)
        if not VENDORED.match(name) and (shared := _runs(_words(text(name))) & theirs)
    }
    assert copied == {}


def _asked_for() -> set[str]:
    """The kinds of job that some action writes by name."""
    kinds = set()
    for name in committed(".py"):
        if not name.startswith(("models/actions/", "workers/")):
            continue
        for node in ast.walk(ast.parse(text(name))):
            match node:
                case ast.Call(func=ast.Attribute(attr="job"), args=[ast.Constant(value=str(kind)), *_]):
                    kinds.add(kind)
                case ast.Call(func=ast.Attribute(attr="job"), args=[ast.Name(id="PUBLISH"), *_]):
                    kinds.add(PUBLISH)
    return kinds


def test_every_job_that_is_asked_for_is_done_and_no_other() -> None:
    follows = {kind for kinds in REACTIONS.values() for kind in kinds}
    assert follows | RECURRING.keys() | _asked_for() == HANDLERS.keys()


def test_every_mutation_has_its_row_in_the_table_of_rights() -> None:
    fields = Mutation.__strawberry_definition__.fields  # type: ignore[attr-defined]  # strawberry puts it there
    assert {field.python_name for field in fields} == MAY.keys()
    assert all(roles for roles in MAY.values())
