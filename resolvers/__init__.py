"""Who may ask, and whom to call: reads are compiled to SQL, changes call one action each."""
