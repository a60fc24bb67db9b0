"""Everything on one machine: the bundled servers, the provider sandbox, demo data, and what starts and stops them."""
