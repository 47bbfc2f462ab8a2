"""Takes secrets out of what is recorded."""

import re
from typing import Any, Final

REDACTED: Final = "[redacted]"

# Keys of providers and clouds, bearer tokens, JWTs: things that are secret whatever text they stand in.
_SECRETS: Final = re.compile(
    r"""
    \b(?:sk|pk|rk)-[A-Za-z0-9_\-]{16,}
    | \b(?:ghp|gho|ghs|github_pat|glpat|xox[abprs])[-_][A-Za-z0-9_\-]{16,}
    | \bAKIA[0-9A-Z]{16}\b
    | \bAIza[0-9A-Za-z_\-]{30,}
    | \beyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+
    | (?<=[Bb]earer\s)[A-Za-z0-9._\-+/=]{12,}
    """,
    re.VERBOSE,
)


def redact(value: Any, known: tuple[str, ...] = ()) -> Any:
    """The value without secrets; `known` are texts that are secret here, such as the key of this very call."""
    if isinstance(value, str):
        for secret in known:
            if secret:
                value = value.replace(secret, REDACTED)
        return _SECRETS.sub(REDACTED, value)
    if isinstance(value, dict):
        return {redact(key, known): redact(each, known) for key, each in value.items()}
    if isinstance(value, list):
        return [redact(each, known) for each in value]
    return value
