"""From a network and batches to checkpoints: loss, optimizer, schedule, the loop, and what makes it resume. Knows neither decoding nor display."""
