"""What is true, whoever asks: pure and synchronous, with the clock and all figures handed in. No input, no output."""
