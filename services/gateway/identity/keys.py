"""The keys that verify tokens. Each has a key id and one algorithm, which follows from the key and from nothing else.

A token's header chooses among the keys by `kid`; it never chooses the algorithm (RFC 8725, sections 3.1 and 3.2). So a
token that is signed with the text of a public key, as if that were a shared secret, is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.errors import KeyRefusedError

MIN_SECRET_BYTES: Final = 32
"""RFC 7518, section 3.2: an HS256 key is at least as long as the hash."""

MIN_RSA_BITS: Final = 2048
"""RFC 7518, section 3.3."""

ALGORITHMS: Final = ("HS256", "RS256", "ES256", "EdDSA")
"""Every algorithm that any key can have."""

_KINDS: Final = "RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA)"


@final
@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key and the only algorithm that it is used with."""

    kid: str
    algorithm: str
    key: Any
    """The secret's bytes, or a public key of `cryptography`."""

    def __repr__(self) -> str:
        return f"<VerificationKey {self.kid} {self.algorithm}>"


def secret_key(kid: str, secret: bytes) -> VerificationKey:
    """An HS256 key.

    Raises:
        KeyRefusedError: the secret is too short, or is not a secret.
    """
    if len(secret) < MIN_SECRET_BYTES:
        raise KeyRefusedError(kid, f"the secret is shorter than {MIN_SECRET_BYTES} bytes")
    if secret.lstrip().startswith(b"-----BEGIN"):
        raise KeyRefusedError(kid, "this is a PEM file, not a secret; public keys go into jwt_public_keys")
    return VerificationKey(kid, "HS256", secret)


def public_key(kid: str, pem: str) -> VerificationKey:
    """An RS256, ES256 or EdDSA key, by what the PEM text holds.

    Raises:
        KeyRefusedError: it holds no public key, a weak one, or one of another kind. The text is never repeated.
    """
    if "PRIVATE KEY" in pem:
        raise KeyRefusedError(kid, "this is a private key, which belongs to whoever signs; give its public key")
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefusedError(
            kid, "this is not a public key in PEM form (-----BEGIN PUBLIC KEY-----, SubjectPublicKeyInfo)"
        ) from None
    match key:
        case rsa.RSAPublicKey() if key.key_size < MIN_RSA_BITS:
            raise KeyRefusedError(kid, f"the RSA key has {key.key_size} bits, {MIN_RSA_BITS} are the least")
        case rsa.RSAPublicKey():
            return VerificationKey(kid, "RS256", key)
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return VerificationKey(kid, "ES256", key)
        case ed25519.Ed25519PublicKey():
            return VerificationKey(kid, "EdDSA", key)
        case _:
            raise KeyRefusedError(kid, f"keys of this kind are not taken; take {_KINDS}")


def collect_keys(secrets: Mapping[str, bytes], public: Mapping[str, str]) -> dict[str, VerificationKey]:
    """All keys by key id, secrets first.

    Raises:
        KeyRefusedError: a key is not good, or a secret and a public key share a key id.
    """
    keys = {kid: secret_key(kid, secret) for kid, secret in secrets.items()}
    for kid, pem in public.items():
        if kid in keys:
            raise KeyRefusedError(kid, "a secret and a public key have the same key id; give one another name")
        keys[kid] = public_key(kid, pem)
    return keys
