"""Tokens: what is taken, and everything that is not."""

import hmac
import json
import math
import time
from contextlib import suppress
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.utils import base64url_encode

from gateway.errors import KeyRefusedError, TokenRefusedError
from gateway.identity.keys import ALGORITHMS, VerificationKey, public_key, secret_key
from gateway.identity.tokens import TokenIssuer, TokenVerifier

OLD = b"o" * 32
NEW = b"n" * 32
VERIFIER = TokenVerifier({"new": NEW, "old": OLD}, issuer="house", audience="gateway")


def sign(key: Any = NEW, *, kid: str | None = "new", algorithm: str = "HS256", **changes: Any) -> str:
    claims: dict[str, Any] = {"sub": "alice", "iss": "house", "aud": "gateway", "exp": time.time() + 3600}
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
        pytest.param(sign(exp=float("inf")), "not a token", id="an expiry without end"),
        pytest.param(sign(nbf=time.time() + 60), "not valid yet", id="not yet valid"),
        pytest.param(sign(aud="other"), "audience", id="another audience"),
        pytest.param(sign(iss="other"), "issuer", id="another issuer"),
        pytest.param(sign(sub=...), "required claim", id="no subject"),
        pytest.param(sign(sub=""), "sub must be", id="empty subject"),
        pytest.param(sign(sub="a\nb"), "sub must be", id="subject with a line end"),
        pytest.param(sign(tenant=7), "tenant must be", id="tenant of another type"),
        pytest.param(sign(roles="admin"), "roles must be", id="roles of another type"),
        pytest.param(sign(roles=["\ud800"]), "roles must be", id="half a character pair as a role"),
        pytest.param(sign(roles=[""]), "roles must be", id="a role without a name"),
        pytest.param(sign(exp=10**400), "exp must be", id="an expiry beyond all numbers"),
        pytest.param(sign(exp=1e300), "exp must be", id="an expiry beyond all calendars"),
        pytest.param(sign(exp="9999999999"), "exp must be", id="an expiry as text"),
        pytest.param(sign(exp=[]), "not a token", id="an expiry of another type"),
        pytest.param(sign().replace(".", "\ud800.", 1), "not a token", id="half a character pair"),
        pytest.param(f"{base64url_encode(b'[' * 2900).decode()}.e30.e30", "not a token", id="a nested header"),
    ],
)
def test_a_bad_token_is_refused_with_its_reason(token: str, words: str) -> None:
    with pytest.raises(TokenRefusedError) as refused:
        VERIFIER.verify(token)
    assert words in refused.value.reason


def test_a_token_without_signature_is_refused() -> None:
    claims = {"sub": "alice", "iss": "house", "aud": "gateway", "exp": time.time() + 60}
    with pytest.raises(TokenRefusedError):
        VERIFIER.verify(jwt.encode(claims, "", algorithm="none", headers={"kid": "new"}))


SIGNERS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
"""A signer elsewhere, by its algorithm, which is its key id, too."""


def pem_of(private_key: Any) -> str:
    text: bytes = private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


PEMS = {algorithm: pem_of(key) for algorithm, key in SIGNERS.items()}
MIXED = TokenVerifier({"new": NEW}, public_keys=PEMS, issuer="house", audience="gateway")


def forge_hs256(kid: str, secret: bytes) -> str:
    """A token signed by hand, since the library refuses to sign with what looks like a public key."""
    claims = {"sub": "alice", "iss": "house", "aud": "gateway", "exp": time.time() + 60}
    signed = jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": kid}).rpartition(".")[0]
    return f"{signed}.{base64url_encode(hmac.digest(secret, signed.encode(), 'sha256')).decode()}"


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_token_of_a_signer_elsewhere_is_taken(algorithm: str) -> None:
    assert MIXED.verify(sign(SIGNERS[algorithm], kid=algorithm, algorithm=algorithm)).user_id == "alice"


def test_shared_secrets_and_public_keys_verify_side_by_side() -> None:
    assert MIXED.verify(sign()).user_id == "alice"


def test_public_keys_alone_are_enough() -> None:
    verifier = TokenVerifier({}, public_keys=PEMS, issuer="house", audience="gateway")
    assert verifier.verify(sign(SIGNERS["ES256"], kid="ES256", algorithm="ES256")).user_id == "alice"


@pytest.mark.parametrize("kid", SIGNERS)
@pytest.mark.parametrize("form", ["as it is", "stripped"])
def test_a_token_signed_with_the_text_of_a_public_key_is_refused(kid: str, form: str) -> None:
    secret = PEMS[kid] if form == "as it is" else PEMS[kid].strip()
    with pytest.raises(TokenRefusedError, match="algorithm"):
        MIXED.verify(forge_hs256(kid, secret.encode()))


def test_the_forgery_is_right_but_for_its_key() -> None:
    assert MIXED.verify(forge_hs256("new", NEW)).user_id == "alice"


@pytest.mark.parametrize("signed_with", SIGNERS)
@pytest.mark.parametrize("named", [*SIGNERS, "new"])
def test_a_key_is_used_with_its_own_algorithm_only(signed_with: str, named: str) -> None:
    token = sign(SIGNERS[signed_with], kid=named, algorithm=signed_with)
    taken = True
    try:
        MIXED.verify(token)
    except TokenRefusedError:
        taken = False
    assert taken is (signed_with == named)


def test_a_token_of_another_key_of_the_same_kind_is_refused() -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(TokenRefusedError, match="signature"):
        MIXED.verify(sign(stranger, kid="ES256", algorithm="ES256"))


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        pytest.param("", "not a public key in PEM form", id="empty"),
        pytest.param(PEMS["RS256"].replace("A", "?"), "not a public key in PEM form", id="damaged"),
        pytest.param(
            SIGNERS["ES256"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "this is a private key",
            id="private",
        ),
        pytest.param(
            pem_of(rsa.generate_private_key(65537, 1024)),  # noqa: S505  a weak key, which is what is refused
            "1024 bits, 2048 are the least",
            id="weak",
        ),
        pytest.param(pem_of(ec.generate_private_key(ec.SECP384R1())), "not taken; take RSA", id="another curve"),
    ],
)
def test_a_key_that_cannot_verify_is_refused_without_being_repeated(pem: str, words: str) -> None:
    with pytest.raises(KeyRefusedError, match=words) as refused:
        public_key("idp", pem)
    assert "'idp'" in str(refused.value)
    assert "BEGIN P" not in str(refused.value).replace("-----BEGIN PUBLIC KEY-----", "")


@pytest.mark.parametrize(
    ("secret", "words"),
    [(b"short", "shorter than 32"), (PEMS["RS256"].encode(), "public keys go into jwt_public_keys")],
)
def test_a_secret_that_is_none_is_refused(secret: bytes, words: str) -> None:
    with pytest.raises(KeyRefusedError, match=words):
        secret_key("main", secret)


def test_two_keys_of_one_name_are_refused() -> None:
    with pytest.raises(KeyRefusedError, match="same key id"):
        TokenVerifier({"RS256": NEW}, public_keys=PEMS, issuer="house", audience="gateway")


@pytest.mark.parametrize("key", [secret_key("s", NEW), *(public_key(kid, pem) for kid, pem in PEMS.items())])
def test_a_key_has_one_of_the_four_algorithms_and_does_not_show_itself(key: VerificationKey) -> None:
    assert key.algorithm in ALGORITHMS
    assert repr(key) == f"<VerificationKey {key.kid} {key.algorithm}>"


@settings(max_examples=100)
@given(st.text(st.characters(), max_size=200) | st.text("ab.\ud800\udfff\u20ac", max_size=50))
def test_any_text_is_refused_and_never_breaks_the_verifier(text: str) -> None:
    with pytest.raises(TokenRefusedError):
        VERIFIER.verify(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.sampled_from([10**400, -(10**400), "\ud800", 9e9]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(["sub", "iss", "aud", "exp", "nbf", "iat", "tenant", "roles", "jti"]), JSON))
def test_whatever_is_signed_is_taken_or_refused(claims: dict[str, Any]) -> None:
    payload = json.dumps({"sub": "alice", "iss": "house", "aud": "gateway", "exp": time.time() + 60} | claims)
    token = jwt.PyJWS().encode(payload.encode(), NEW, algorithm="HS256", headers={"kid": "new"})
    with suppress(TokenRefusedError):
        principal = VERIFIER.verify(token)
        assert principal.user_id.isprintable()
        assert math.isfinite(principal.expires_at)
        assert all(role.isprintable() for role in principal.roles)


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        pytest.param({"user_id": ""}, "sub must be", id="no user"),
        pytest.param({"user_id": "a\nb"}, "sub must be", id="a user with a line end"),
        pytest.param({"user_id": "a", "tenant_id": ""}, "tenant must be", id="no tenant"),
        pytest.param({"user_id": "a", "roles": ["x" * 129]}, "roles must be", id="a long role"),
        *(
            pytest.param({"user_id": "a", "lifetime": lifetime}, "exp must be", id=f"for {lifetime} s")
            for lifetime in (math.inf, math.nan, 1e300)
        ),
    ],
)
def test_no_token_is_minted_that_would_be_refused(claims: dict[str, Any], words: str) -> None:
    with pytest.raises(TokenRefusedError, match=words):
        TokenIssuer({"new": NEW}, issuer="house", audience="gateway").mint(**claims)


def test_the_leeway_lengthens_the_life_of_a_token() -> None:
    lenient = TokenVerifier({"new": NEW}, issuer="house", audience="gateway", leeway=30)
    expired_at = time.time() - 10
    assert lenient.verify(sign(exp=expired_at)).expires_at == expired_at + 30
