"""JSON Web Tokens (RFC 7519): checked with the key that `kid` names, by that key's own algorithm."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, final

import jwt

from gateway.errors import TokenRefusedError
from gateway.identity.keys import VerificationKey, collect_keys
from gateway.identity.principal import Principal

DEFAULT_TENANT: Final = "default"
_MAX_TOKEN_CHARACTERS: Final = 4096
_MAX_NAME_CHARACTERS: Final = 128
_MAX_ROLES: Final = 64
_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999: later than that is a mistake, or a number that no clock can hold."""

_NAME: Final = f"1 to {_MAX_NAME_CHARACTERS} printable characters"
_GARBLED: Final = "this is not a token"

_REASONS: Final[tuple[tuple[type[jwt.PyJWTError], str], ...]] = (
    (jwt.ExpiredSignatureError, "the token has expired; get a new one"),
    (jwt.ImmatureSignatureError, "the token is not valid yet; check the clocks"),
    (jwt.InvalidAudienceError, "the token was made for another audience"),
    (jwt.InvalidIssuerError, "the token comes from another issuer"),
    (jwt.MissingRequiredClaimError, "the token lacks a required claim (exp, sub, iss, aud)"),
    (jwt.InvalidAlgorithmError, "the token's algorithm is not allowed"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
)


@final
class TokenVerifier:
    """Checks tokens. Safe to share; holds keys and nothing else.

    Args:
        keys: secret by key id; the first signs, all verify, which is how keys are rotated.
        public_keys: PEM text by key id, of signers elsewhere. A key's kind fixes its algorithm.
        issuer: the `iss` a token must carry.
        audience: the `aud` a token must carry.
        leeway: seconds by which clocks may differ.

    Raises:
        KeyRefusedError: a key is not good.
    """

    def __init__(
        self,
        keys: Mapping[str, bytes],
        *,
        public_keys: Mapping[str, str] | None = None,
        issuer: str,
        audience: str,
        leeway: float = 0.0,
    ) -> None:
        self._keys = collect_keys(keys, public_keys or {})
        if not self._keys:
            raise ValueError("at least one key is needed")
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway

    def verify(self, token: str) -> Principal:
        """Tell whose token this is.

        Raises:
            TokenRefusedError: it is not good; the message says why and never repeats the token.
        """
        if not token or len(token) > _MAX_TOKEN_CHARACTERS:
            raise TokenRefusedError("there is no token, or it is too long")
        if not token.isascii():
            raise TokenRefusedError(_GARBLED)
        try:
            key = self._key_of(token)
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise TokenRefusedError(_reason(error)) from None
        except (ValueError, TypeError, OverflowError, RecursionError):
            # JSON of the strangest kind, which the library does not look for.
            raise TokenRefusedError(_GARBLED) from None
        return _principal(claims, leeway=self._leeway)

    def _key_of(self, token: str) -> VerificationKey:
        kid = jwt.get_unverified_header(token).get("kid")
        if kid is None:
            return next(iter(self._keys.values()))
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise TokenRefusedError("the token names a key that is not known here")
        return key


@final
class TokenIssuer:
    """Makes tokens that a `TokenVerifier` of the same settings takes: for the command line and for tests."""

    def __init__(
        self, keys: Mapping[str, bytes], *, issuer: str, audience: str, wall: Callable[[], float] = time.time
    ) -> None:
        if not keys:
            raise ValueError("a secret to sign with is needed")
        self._kid, self._key = next(iter(keys.items()))
        self._issuer = issuer
        self._audience = audience
        self._wall = wall

    def mint(
        self,
        user_id: str,
        *,
        tenant_id: str = DEFAULT_TENANT,
        roles: Iterable[str] = ("user",),
        lifetime: float = 3600.0,
    ) -> str:
        """Make a token that is good for `lifetime` seconds from now (negative: already expired).

        Raises:
            TokenRefusedError: nobody would take such a token; the message names the claim.
        """
        now = self._wall()
        claims: dict[str, Any] = {
            "sub": user_id,
            "tenant": tenant_id,
            "roles": sorted(roles),
            "iss": self._issuer,
            "aud": self._audience,
            "exp": now + lifetime,
        }
        _principal(claims, leeway=0.0)
        claims["iat"] = int(min(now, now + lifetime))
        return jwt.encode(claims, self._key, algorithm="HS256", headers={"kid": self._kid})


def _reason(error: jwt.PyJWTError) -> str:
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    return _GARBLED


def _principal(claims: Mapping[str, Any], *, leeway: float) -> Principal:
    user_id, tenant_id, roles = claims["sub"], claims.get("tenant", DEFAULT_TENANT), claims.get("roles", [])
    for name, value in (("sub", user_id), ("tenant", tenant_id)):
        if not _is_name(value):
            raise TokenRefusedError(f"the token's {name} must be {_NAME}")
    if not isinstance(roles, list) or len(roles) > _MAX_ROLES or not all(map(_is_name, roles)):
        raise TokenRefusedError(f"the token's roles must be a list of at most {_MAX_ROLES} strings, each {_NAME}")
    ends = claims["exp"]
    if not isinstance(ends, int | float) or not abs(ends) <= _LAST_SECOND:
        raise TokenRefusedError("the token's exp must be a number of seconds, and no later than the year 9999")
    return Principal(tenant_id=tenant_id, user_id=user_id, roles=frozenset(roles), expires_at=float(ends) + leeway)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME_CHARACTERS and value.isprintable()
