"""GoCardless: direct debit mandates, payments on them, and its webhooks."""
