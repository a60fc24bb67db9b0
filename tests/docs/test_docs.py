"""The documents are true where a machine can tell: every code explained, every link alive, every query valid."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import FieldNode, OperationDefinitionNode, SelectionSetNode, parse, validate

from models.actions.settings import NEEDED
from models.rules.refusals import REFUSALS, Code
from models.rules.states import Provider
from schema.root import schema

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
VERBS_OF_HTTP = {"GET", "OPTIONS", "POST"}
PARTS = ("## Context", "## Decision", "## Alternatives")

# What would tell of how the documents came about, or of where, instead of the project.
FOREIGN = (r"\bagents?\b", r"\bassistants?\b", r"\bthis session\b", r"(?<!\w)#\d+", r"\bissue \d+", r"/work/", r"/tmp/")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def sections() -> dict[str, str]:
    """docs/errors.md as {code: what stands below its heading}."""
    text = (ROOT / "docs" / "errors.md").read_text()
    parts = re.split(r"^#### ([A-Z_]+)$", text, flags=re.MULTILINE)
    return {
        code: below.split("\n## ")[0].split("\n### ")[0] for code, below in zip(parts[1::2], parts[2::2], strict=True)
    }


def codes_of(tree: ast.AST) -> Iterator[str]:
    """The words in capitals that a module raises, tells or defaults to as a code."""
    for node in ast.walk(tree):
        word = node.value if isinstance(node, ast.Constant) else None
        if isinstance(word, str) and re.fullmatch(r"[A-Z]+(_[A-Z]+)*", word) and word not in VERBS_OF_HTTP:
            yield word


def fault_codes() -> set[str]:
    """The codes of top-level errors: every one of the protocol's, and what the rest raises with a code."""
    found: set[str] = set()
    for path in (ROOT / "resolvers" / "protocol").glob("*.py"):
        found |= set(codes_of(ast.parse(path.read_text())))
    for path in [*(ROOT / "resolvers").rglob("*.py"), *(ROOT / "schema").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            raises = isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"BadInput", "GraphQLError"}
            if raises or (isinstance(node, ast.ClassDef) and node.name == "BadInput"):
                found |= set(codes_of(node))
    return found


def fenced(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", Code)
def test_every_refusal_has_a_section_that_says_what_to_do(code: Code) -> None:
    assert re.search(r"^\*\*Do:\*\* [A-Z`].{15,}\.", sections()[code], re.MULTILINE | re.DOTALL)


def test_every_fault_has_a_section_that_says_what_to_do() -> None:
    codes = fault_codes()
    assert {"UNAUTHENTICATED", "TIMEOUT", "BAD_USER_INPUT", "INVALID_CURSOR", "QUERY_TOO_COMPLEX"} <= codes
    told = sections()
    assert codes - told.keys() == set()
    assert all("**Do:**" in told[code] for code in codes)


def test_no_section_is_about_a_code_that_does_not_exist() -> None:
    assert sections().keys() - fault_codes() - set(REFUSALS) == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        there = (path.parent / place).resolve() if place else path
        assert there.exists(), target
        headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}, target


def matches(answer: Any, selected: SelectionSetNode | None) -> bool:
    """Whether an answer has exactly the fields that were selected, at every level."""
    if isinstance(answer, list):
        return all(matches(each, selected) for each in answer)
    if selected is None or not isinstance(answer, dict):
        return selected is None and not isinstance(answer, dict)
    fields = {each.name.value: each.selection_set for each in selected.selections if isinstance(each, FieldNode)}
    return answer.keys() == fields.keys() and all(matches(answer[field], fields[field]) for field in fields)


def test_the_first_query_of_the_readme_is_valid_and_its_answer_fits() -> None:
    asked = re.search(r"-d '(\{.*\})'", (ROOT / "README.md").read_text())
    assert asked
    document = parse(json.loads(asked[1])["query"])
    assert validate(schema._schema, document) == []
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    (answer,) = fenced(ROOT / "README.md", "json")
    assert matches(json.loads(answer)["data"], operation.selection_set)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_graphql_document_shown_is_valid(path: Path) -> None:
    for document in fenced(path, "graphql"):
        assert validate(schema._schema, parse(document)) == []


def test_the_set_up_of_each_provider_names_what_it_needs() -> None:
    shown = next(each for each in fenced(ROOT / "docs" / "deploy.md", "graphql") if "configureProvider" in each)
    for provider in Provider:
        part = shown.split(f"provider: {provider.value}\n")[1].split("userErrors")[0]
        settings, secrets = NEEDED[provider]
        assert {*settings, *secrets} <= set(re.findall(r'name: "(\w+)"', part))


def test_every_make_target_and_module_command_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = set(re.findall(r"@cli\.command\(\)\ndef (\w+)", (ROOT / "app.py").read_text()))
    for path in DOCUMENTS:
        text = path.read_text()
        assert set(re.findall(r"`make ([a-z]+)", text)) <= targets, path
        assert {each.replace("-", "_") for each in re.findall(r"python -m app ([a-z-]+)", text)} <= commands, path


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_file_of_ours_that_is_named_exists(path: Path) -> None:
    folders = r"(?:schema|resolvers|models|workers|integrations|local|tests|docs)"
    for named in re.findall(rf"(?<![\w/.-]){folders}/[\w./-]*\w", path.read_text()):
        assert (ROOT / named).exists(), named


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    listed = (ROOT / "docs" / "README.md").read_text()
    for number, path in enumerate(DECISIONS, 1):
        title = path.read_text().splitlines()[0].removeprefix(f"# {number}. ")
        assert f"{number}. [{title}](decisions/{path.name})\n" in listed


@pytest.mark.parametrize("path", DECISIONS, ids=name)
def test_a_decision_tells_its_context_and_what_else_was_considered(path: Path) -> None:
    headings = re.findall(r"^## .*$", path.read_text(), re.MULTILINE)
    assert all(any(heading.startswith(part) for heading in headings) for part in PARTS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_a_document_speaks_of_the_project_alone(path: Path) -> None:
    for foreign in FOREIGN:
        assert not re.search(foreign, path.read_text(), re.IGNORECASE), foreign
