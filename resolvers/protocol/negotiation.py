"""Which media types a request brings and takes, and how its answer is to be kept."""

from functools import lru_cache

from resolvers.protocol.faults import Rejected

JSON = "application/json"
RESPONSE = "application/graphql-response+json"
EVENTS = "text/event-stream"
SAFE = (  # headers of what could be kept or embedded: streams, and whatever was not asked by POST (decision 78)
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
_SERVED = (RESPONSE, JSON, EVENTS)
_UTF8 = frozenset({"utf-8", "utf8"})


def _parameters(text: str) -> tuple[str, dict[str, str]]:
    media, *rest = (part.strip() for part in text.split(";"))
    pairs = (part.partition("=") for part in rest)
    return media.lower(), {name.strip().lower(): value.strip().strip('"').lower() for name, _, value in pairs}


@lru_cache(maxsize=256)
def body_type(content_type: bytes) -> str | None:
    """A Content-Type header, empty for none -> its exact media type; None where its charset is not UTF-8."""
    media, parameters = _parameters(content_type.decode("latin-1"))
    return media if parameters.get("charset", "utf-8") in _UTF8 else None


@lru_cache(maxsize=256)
def offered(accept: bytes) -> tuple[str, ...]:
    """An Accept header -> what is served of it, most wanted first; an empty one means JSON. Raises Rejected 406."""
    found = _wanted(accept.decode("latin-1")) if accept.strip() else (JSON,)
    if not found:
        raise Rejected(406, "NOT_ACCEPTABLE", f"Accept one of {', '.join(_SERVED)}.")
    return found


def _wanted(accept: str) -> tuple[str, ...]:
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept.split(",")):
        media, parameters = _parameters(part)
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            quality = 0.0
        if quality <= 0 or parameters.get("charset", "utf-8") not in _UTF8:
            continue
        # a wildcard means plain JSON: whoever names nothing knows nothing newer
        name = {"*/*": JSON, "application/*": JSON}.get(media, media)
        if name in _SERVED:
            ranked.append((-quality, place, name))
    return tuple(dict.fromkeys(name for _, _, name in sorted(ranked)))
