"""What a run is: the schema of a recipe, its presets, and the loader that reads YAML and says what is wrong with it."""
