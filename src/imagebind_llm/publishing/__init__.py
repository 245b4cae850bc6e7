"""Making model folders that can be given away: whole, adapter only or merged, with a model card."""
