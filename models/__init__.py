"""The business: `rules` say what is true, `tables` what is stored, `actions` what happens, `ports` whom we need.

This file stays empty, so that importing a rule loads neither the database's library nor GraphQL's.
"""
