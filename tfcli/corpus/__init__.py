"""From aligned text to memory-mapped piece ids, and from those to batches. Needs numpy, never torch."""
