"""The verbs of the command line, one file each: they read options, call the rooms below and show the result. Only this room and app.py know typer and rich."""
