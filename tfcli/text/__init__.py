"""Text as it is: exact lines, file formats, downloads, cleaning, and the tokenizer between text and piece ids."""
