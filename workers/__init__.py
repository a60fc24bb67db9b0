"""What runs later: workers claim job rows, call providers through the ports, and write what came of it by actions."""
