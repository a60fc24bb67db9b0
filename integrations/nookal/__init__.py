"""Nookal: the clinic's classes and attendances, and invoices itemised by class."""
