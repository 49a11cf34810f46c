"""From the parts to a run folder."""
