"""How GraphQL is spoken: over HTTP, as server-sent events and over WebSocket; one engine behind all three.

    http, sse, websocket           what came over the wire -> a request, and its answers -> the wire
    negotiation, origins, asked    which media types, whose pages, which document with what
    persisted                      a document that came by its name
    documents                      text -> parsed, guarded, validated, priced, once
    paying                         its price, taken before it runs
    engine                         a request -> its answer
    faults                         what is told of what went wrong, and what the log alone is told

Of Strawberry only its validation and its test for awaitables are used here, and no extension anywhere (decision 69).
"""
