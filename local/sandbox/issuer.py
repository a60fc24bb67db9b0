"""An OpenID issuer for one machine: its public key, and tokens for whoever asks. Its key is new with each start."""

import time
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SECONDS_GOOD = 600
ALGORITHM = "ES256"


class Issuer:
    """Signs what it is asked to sign, in the name of `url`."""

    def __init__(self, url: str, audience: str = "dueflow") -> None:
        self.url, self.audience = url, audience
        self.kid = uuid4().hex
        self._key = ec.generate_private_key(ec.SECP256R1())

    def routes(self) -> list[Route]:
        """GET /issuer/jwks.json, POST /issuer/token."""
        return [Route("/issuer/jwks.json", self.keys), Route("/issuer/token", self.token, methods=["POST"])]

    async def keys(self, _request: Request) -> JSONResponse:
        """-> the key set."""
        told = jwt.get_algorithm_by_name(ALGORITHM).to_jwk(self._key.public_key(), as_dict=True)
        return JSONResponse({"keys": [{**told, "kid": self.kid, "alg": ALGORITHM, "use": "sig"}]})

    async def token(self, request: Request) -> JSONResponse:
        """{"sub", "role", "user"?, "scope"?, "seconds"?} -> {"access_token", "token_type", "expires_in"}; 400."""
        asked = await request.json()
        if not isinstance(asked, dict) or not asked.get("sub") or not asked.get("role"):
            raise ValueError("A token names `sub` and `role`.")
        seconds = int(asked.get("seconds", SECONDS_GOOD))
        claims = {"sub": str(asked["sub"]), "dueflow_role": asked["role"], "scope": asked.get("scope", "")}
        if asked.get("user"):
            claims["dueflow_user"] = asked["user"]
        return JSONResponse(
            {"access_token": self.signed(claims, seconds), "token_type": "Bearer", "expires_in": seconds}
        )

    def signed(self, claims: dict[str, str], seconds: int) -> str:
        """Claims -> a token good for so many seconds from now."""
        now = int(time.time())
        when = {"iss": self.url, "aud": self.audience, "iat": now, "nbf": now, "exp": now + seconds}
        return jwt.encode({**when, **claims}, self._key, algorithm=ALGORITHM, headers={"kid": self.kid})
