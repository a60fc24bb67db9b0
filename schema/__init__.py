"""What can be asked: the GraphQL types, a line a field, each beside what it stands for."""
