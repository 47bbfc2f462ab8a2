"""Contracts from YAML and back: the built-in ones by name, others by file."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

from event_capture.contract.clauses import AnyClause, Claim, Own, Schema, Scope
from event_capture.contract.model import Contract, scope_in
from event_capture.contract.schemas import BadSchemaError, check_schema
from event_capture.contract.sentences import SECTIONS, read_claim, read_sentence
from event_capture.contract.soundness import TYPO_CUTOFF, folly
from event_capture.contract.words import Mention, SentenceError
from event_capture.documents import Complaint, Node, nearest, read_document, suggest
from event_capture.errors import ContractError, VocabularyError
from event_capture.vocabulary.loading import load_vocabulary, read_vocabulary
from event_capture.vocabulary.model import Vocabulary

_KEYS: Final = ("name", "about", "extends", "vocabulary", "scope", "events", "closed", "readable", "drop", *SECTIONS)
MAX_EXTENDS: Final = 16
"""Longest chain of contracts that extend each other."""
_complain: Final = Complaint(ContractError)


def builtin_contracts() -> tuple[str, ...]:
    """Names of the contracts that come with the package."""
    folder = resources.files("event_capture.contract") / "data"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_contract(name: str | Path) -> Contract:
    """Load a built-in contract by name, or a file by its path.

    Raises:
        ContractError: no such contract or file, or its text is wrong: line, column, nearest right name.
        VocabularyError: the same for the vocabulary that it names.
    """
    return _Loader().load(str(name), folder=None, place=None)


def parse_contract(text: str | bytes, *, source: str = "contract", folder: Path | None = None) -> Contract:
    """Read a contract from YAML text; files that it names are relative to `folder`.

    Raises:
        ContractError: what is wrong, with line, column and the nearest right name.
        VocabularyError: the same for the vocabulary that it names.
    """
    return _Loader().parse(text, source, folder)


def write_contract(contract: Contract) -> str:
    """Write a contract as YAML text that reads back as the same contract."""
    import yaml

    from event_capture.vocabulary.loading import write_vocabulary

    vocabulary: Any = contract.vocabulary.name
    if vocabulary not in _builtin_vocabulary_names() or load_vocabulary(vocabulary) != contract.vocabulary:
        vocabulary = yaml.safe_load(write_vocabulary(contract.vocabulary))
    document: dict[str, Any] = {"name": contract.name, "about": contract.about, "vocabulary": vocabulary}
    document |= {"scope": str(contract.scope), "events": list(_declared(contract))}
    if contract.closed:
        document["closed"] = True
    if not contract.readable:
        document["readable"] = False
    # In the order in which sections are read, so that what is read back is written the same.
    sections = list(SECTIONS)
    for clause in sorted(contract.clauses, key=lambda each: sections.index(each.section)):
        entry: Any = clause.sentence()
        if isinstance(clause, Schema):
            entry = {"schema": entry, "is": clause.schema}
        elif isinstance(clause, Own):
            entry = {"own": entry, "is": [claim.sentence() for claim in clause.claims]}
        document.setdefault(clause.section, []).append(entry)
    kept = {key: value for key, value in document.items() if value not in ("", [])}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=120)


def _declared(contract: Contract) -> tuple[str, ...]:
    """Events of the contract's own; in Python they need not be listed, in a document they must."""
    known = contract.vocabulary.known_events()
    used = (name for clause in contract.clauses for name in clause.events() if name not in known)
    return tuple(dict.fromkeys((*contract.events, *used)))


def _builtin_vocabulary_names() -> tuple[str, ...]:
    from event_capture.vocabulary.loading import builtin_vocabularies

    return builtin_vocabularies()


class _Loader:
    """Loads one contract and those that it extends."""

    def __init__(self) -> None:
        self.chain: list[str] = []

    def load(self, name: str, *, folder: Path | None, place: Node | None) -> Contract:
        if name in builtin_contracts():
            entry = resources.files("event_capture.contract") / "data" / f"{name}.yaml"
            return self.enter(name, entry.read_bytes(), f"{name}.yaml", None, place)
        if not name.endswith((".yaml", ".yml", ".json")):
            reason = f"no contract is called {name!r}"
            fix = f"{suggest(name, builtin_contracts())} A file ends in .yaml"
            if place is not None:
                _complain.at(place, reason, fix=fix)
            raise ContractError(reason, fix=fix)
        path = Path(name) if folder is None else folder / name
        try:
            text = path.read_bytes()
        except OSError as error:
            reason = f"cannot read {path}: {error.strerror}"
            if place is not None:
                _complain.at(place, reason)
            raise ContractError(reason) from None
        return self.enter(str(path.resolve()), text, str(path), path.parent, place)

    def enter(self, identity: str, text: bytes, source: str, folder: Path | None, place: Node | None) -> Contract:
        if identity in self.chain or len(self.chain) >= MAX_EXTENDS:
            reason = f"the contracts extend each other in a circle: {' -> '.join([*self.chain, identity])}"
            raise (
                ContractError(reason, source=source)
                if place is None
                else ContractError(reason, source=place.source, line=place.line, column=place.column)
            )
        self.chain.append(identity)
        contract = self.parse(text, source, folder)
        self.chain.pop()
        return contract

    def parse(self, text: str | bytes, source: str, folder: Path | None) -> Contract:
        root = _complain.mapping(read_document(text, source, ContractError), "a contract")
        _complain.known_keys(root, _KEYS, "a contract")
        extends = root.get("extends")
        parents = [
            self.load(_complain.text(node, "extends"), folder=folder, place=node)
            for node in (extends.elements() if extends else [])
        ]
        vocabulary = self.vocabulary(root, folder, parents)
        inherited: list[AnyClause] = []
        for parent in parents:
            inherited += [clause for clause in parent.clauses if clause not in inherited]
        events = tuple(
            dict.fromkeys([*(event for parent in parents for event in parent.events), *_names(root.get("events"))])
        )
        name_node = root.get("name")
        if name_node is None:
            _complain.at(root, "a contract needs a name")
        about = root.get("about")
        scope = _scope(root.get("scope"), parents)
        reading = _Clauses(vocabulary, (*vocabulary.known_events(), *events), scope)
        clauses = list(reading.without(tuple(inherited), root))
        for section in SECTIONS:
            if (node := root.get(section)) is not None:
                clauses += [clause for clause in reading.section(section, node) if clause not in clauses]
        closed = _flag(root.get("closed"), "closed", any(parent.closed for parent in parents))
        if not clauses and not closed:
            _complain.at(root, "the contract has no clause, so any stream satisfies it", fix="add one, such as require")
        return Contract(
            name=_complain.text(name_node, "name"),
            about=_complain.text(about, "about") if about else "",
            vocabulary=vocabulary,
            clauses=tuple(clauses),
            scope=scope,
            events=events,
            closed=closed,
            readable=_flag(root.get("readable"), "readable", all(parent.readable for parent in parents)),
        )

    def vocabulary(self, root: Node, folder: Path | None, parents: list[Contract]) -> Vocabulary:
        node = root.get("vocabulary")
        if node is None:
            if not parents:
                _complain.at(root, "a contract needs a vocabulary", fix="name one, such as: vocabulary: agent_turn")
            return parents[0].vocabulary
        if node.is_mapping:
            return read_vocabulary(node)
        try:
            return load_vocabulary(_complain.text(node, "vocabulary"), folder=folder)
        except VocabularyError as error:
            if error.line:
                raise
            _complain.at(node, error.reason, fix=error.fix)


class _Clauses:
    """Reads the clauses of one document."""

    def __init__(self, vocabulary: Vocabulary, known: tuple[str, ...], scope: Scope) -> None:
        self.vocabulary = vocabulary
        self.known = known
        self.scope = scope
        """Of clauses that name none."""

    def section(self, section: str, node: Node) -> Iterator[AnyClause]:
        for element in node.elements():
            if section == "schema":
                sentence, schema = self.parts(section, element, "the events", "the JSON Schema")
                _complain.mapping(schema, "a JSON Schema")
                self.schema(schema)
                yield from self.read(section, sentence, schema=schema.bare())
            elif section == "own":
                sentence, claims = self.parts(section, element, "where the owner stands", "what events do")
                yield from self.read(section, sentence, claims=tuple(map(self.claim, claims.elements())))
            else:
                yield from self.read(section, element)

    def parts(self, section: str, node: Node, what: str, of_what: str) -> tuple[Node, Node]:
        """The two parts of a clause that does not fit into one sentence."""
        _complain.mapping(node, f"a clause of {section!r}")
        _complain.known_keys(node, (section, "is"), f"a clause of {section!r}")
        sentence, body = node.get(section), node.get("is")
        if sentence is None or body is None:
            _complain.at(node, f"a clause of {section!r} needs the keys {section!r} ({what}) and 'is' ({of_what})")
        return sentence, body

    def schema(self, node: Node) -> None:
        try:
            check_schema(node)
        except BadSchemaError as fault:
            _complain.at(fault.at, fault.reason, fix=fault.fix)

    def claim(self, node: Node) -> Claim:
        try:
            claim, mentions = read_claim(_complain.text(node, "a claim"))
        except SentenceError as error:
            _complain.at(node, error.reason, fix=error.fix, offset=error.offset)
        for mention in mentions:
            self.know(mention, node)
        return claim

    def read(
        self,
        section: str,
        node: Node,
        *,
        schema: dict[str, Any] | None = None,
        claims: tuple[Claim, ...] = (),
    ) -> tuple[AnyClause, ...]:
        text = _complain.text(node, f"a clause of {section!r}")
        try:
            reading = read_sentence(section, text, aliases=self.vocabulary.pairs, schema=schema, claims=claims)
        except SentenceError as error:
            _complain.at(node, error.reason, fix=error.fix, offset=error.offset)
        for mention in reading.mentions:
            self.know(mention, node)
        for clause in reading.clauses:
            found = folly(clause, scope_in(clause, self.scope), self.vocabulary)
            if found is not None:
                _complain.at(node, found[0], fix=found[1])
        return reading.clauses

    def know(self, mention: Mention, node: Node) -> None:
        name = mention.name
        if name in self.known:
            return
        near = nearest(name, self.known, cutoff=TYPO_CUTOFF)
        sent = name.startswith("sent:")
        own = f"f {name!r} is {'a message' if sent else 'an event'} of its own, list it under 'events'"
        fix = f"did you mean {near!r}? I{own}" if near else f"i{own}"
        what = f"the client sends nothing called {name[5:]!r}" if sent else f"no event is called {name!r}"
        _complain.at(node, what, fix=fix, offset=mention.offset)

    def without(self, inherited: tuple[AnyClause, ...], root: Node) -> tuple[AnyClause, ...]:
        """The inherited clauses but those that `drop` lists as "section: sentence"."""
        kept, drop = list(inherited), root.get("drop")
        for node in drop.elements() if drop else []:
            text = _complain.text(node, "a dropped clause")
            matches = [clause for clause in kept if str(clause) == " ".join(text.split())]
            if not matches:
                fix = suggest(text, [str(clause) for clause in kept])
                _complain.at(node, "no inherited clause reads like this", fix=fix)
            kept = [clause for clause in kept if clause not in matches]
        for clause in kept:
            # Sound where it was written; here the scope or the vocabulary may be another.
            found = folly(clause, scope_in(clause, self.scope), self.vocabulary)
            if found is not None:
                _complain.at(
                    root, f"of the inherited clause {str(clause)!r}: {found[0]}", fix=f"drop it, or {found[1]}"
                )
        return tuple(kept)


def _names(node: Node | None) -> list[str]:
    return [_complain.text(element, "the name of an event") for element in (node.elements() if node else [])]


def _flag(node: Node | None, what: str, inherited: bool) -> bool:
    return inherited if node is None else _complain.truth(node, what)


def _scope(node: Node | None, parents: list[Contract]) -> Scope:
    if node is None:
        return parents[0].scope if parents else Scope.RUN
    text = _complain.text(node, "scope")
    try:
        return Scope(text)
    except ValueError:
        _complain.at(node, f"no scope is called {text!r}", fix=suggest(text, [str(scope) for scope in Scope]))
