"""Stripe: cards, subscriptions sold by payment links, and its webhooks."""
