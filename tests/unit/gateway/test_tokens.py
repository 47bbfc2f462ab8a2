"""Tokens: what is taken, and everything that is not."""

import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import TokenRefusedError
from gateway.identity.tokens import TokenIssuer, TokenVerifier

OLD = b"o" * 32
NEW = b"n" * 32
VERIFIER = TokenVerifier({"new": NEW, "old": OLD}, issuer="house", audience="gateway")


def sign(key: bytes = NEW, *, kid: str | None = "new", algorithm: str = "HS256", **changes: Any) -> str:
    claims: dict[str, Any] = {"sub": "alice", "iss": "house", "aud": "gateway", "exp": time.time() + 60}
    claims |= changes
    claims = {name: value for name, value in claims.items() if value is not ...}
    return jwt.encode(claims, key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


def test_a_token_says_who_the_user_is() -> None:
    principal = VERIFIER.verify(sign(tenant="acme", roles=["admin"]))
    assert (principal.tenant_id, principal.user_id, principal.roles) == ("acme", "alice", frozenset({"admin"}))


def test_a_minted_token_is_taken() -> None:
    token = TokenIssuer({"new": NEW}, issuer="house", audience="gateway").mint("bob", lifetime=60)
    assert VERIFIER.verify(token).user_id == "bob"


def test_a_token_of_a_key_that_is_being_rotated_out_is_taken() -> None:
    assert VERIFIER.verify(sign(OLD, kid="old")).user_id == "alice"


@pytest.mark.parametrize(
    ("token", "words"),
    [
        pytest.param("", "no token", id="empty"),
        pytest.param("a.b.c", "not a token", id="garbage"),
        pytest.param("x" * 5000, "too long", id="too long"),
        pytest.param(sign(OLD), "signature", id="signed with another key than it names"),
        pytest.param(sign(kid="stolen"), "key that is not known", id="unknown key id"),
        pytest.param(sign(algorithm="HS384", key=b"n" * 48), "algorithm", id="another algorithm"),
        pytest.param(sign(exp=time.time() - 1), "expired", id="expired"),
        pytest.param(sign(exp=...), "required claim", id="no expiry"),
        pytest.param(sign(nbf=time.time() + 60), "not valid yet", id="not yet valid"),
        pytest.param(sign(aud="other"), "audience", id="another audience"),
        pytest.param(sign(iss="other"), "issuer", id="another issuer"),
        pytest.param(sign(sub=...), "required claim", id="no subject"),
        pytest.param(sign(sub=""), "sub must be", id="empty subject"),
        pytest.param(sign(sub="a\nb"), "sub must be", id="subject with a line end"),
        pytest.param(sign(tenant=7), "tenant must be", id="tenant of another type"),
        pytest.param(sign(roles="admin"), "roles must be", id="roles of another type"),
    ],
)
def test_a_bad_token_is_refused_with_its_reason(token: str, words: str) -> None:
    with pytest.raises(TokenRefusedError) as refused:
        VERIFIER.verify(token)
    assert words in refused.value.reason


def test_a_token_without_signature_is_refused() -> None:
    claims = {"sub": "alice", "iss": "house", "aud": "gateway", "exp": time.time() + 60}
    with pytest.raises(TokenRefusedError):
        VERIFIER.verify(jwt.encode(claims, None, algorithm="none", headers={"kid": "new"}))


@given(st.text(max_size=200))
def test_any_text_is_refused_and_never_breaks_the_verifier(text: str) -> None:
    with pytest.raises(TokenRefusedError):
        VERIFIER.verify(text)
