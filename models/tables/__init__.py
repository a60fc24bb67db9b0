"""What is stored: Tortoise rows with their constraints. Tables are dumb; only `models.actions` writes them."""
