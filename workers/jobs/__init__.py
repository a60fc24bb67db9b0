"""The kinds of work, by what they are about; each takes ids and reads the present."""
