"""The three main flows against a running system: `make demo` shows them, the journey tests assert on them."""
