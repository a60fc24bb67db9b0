"""How GraphQL is spoken: over HTTP, as server-sent events and over WebSocket; one engine behind all three."""
