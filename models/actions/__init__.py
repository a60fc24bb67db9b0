"""What happens: one verb per function, one transaction each. The only code that writes business rows."""
