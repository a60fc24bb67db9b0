"""Everything with a vendor's name: the real clients behind `models.ports`, and who reads the vendors' webhooks."""
