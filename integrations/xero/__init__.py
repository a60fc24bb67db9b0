"""Xero: the plain invoices of the ledger."""
