"""From a network and source text to translations: greedy search, beam search, and the translator that keeps lines in order."""
