"""The providers on one machine: Stripe, GoCardless, CoursePro, Nookal and Xero as real HTTP servers on loopback.

One process, six ports, one virtual clock, switchable faults. Our own client code talks to it unchanged.
"""
