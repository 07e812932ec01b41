"""The network: its configuration, the Transformer itself, the key/value cache, and the model folder on disk."""
