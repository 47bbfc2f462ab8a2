"""Rules that can never fire because an earlier one takes everything they want."""

import msgspec

from mock_llm.scenario.model import Match, Rule, Scenario


def shadowed_rules(scenario: Scenario) -> list[tuple[str, str]]:
    """Pairs of a rule and the earlier rule that shadows it: each condition of the earlier one is among its own.

    Finds what can be proved from the conditions as written, so it never reports a rule that could fire.
    """
    found: list[tuple[str, str]] = []
    for index, rule in enumerate(scenario.rules):
        before = next((each for each in scenario.rules[:index] if _takes_all(each, rule)), None)
        if before is not None:
            found.append((rule.name, before.name))
    return found


def _takes_all(earlier: Rule, later: Rule) -> bool:
    ends = earlier.turns is not None or (earlier.sequence is not None and earlier.sequence_end == "no_match")
    return not ends and _conditions(earlier.match).items() <= _conditions(later.match).items()


def _conditions(match: Match) -> dict[str, object]:
    given = {name: getattr(match, name) for name in match.__struct_fields__ if name != "header"}
    found = {name: msgspec.json.encode(value) for name, value in given.items() if value is not None}
    headers = {f"header.{name.lower()}": msgspec.json.encode(value) for name, value in match.header.items()}
    return {**found, **headers}
