"""What a translation is worth: sacreBLEU's metrics with their signatures. Needs no network."""
