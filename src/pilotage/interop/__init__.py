"""Published checkpoints and other libraries, converted at the edge."""
