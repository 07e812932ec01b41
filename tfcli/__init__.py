"""tfcli: train, score and run Transformer translators from the command line."""

__version__ = "0.1.0"
