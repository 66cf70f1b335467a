"""What the rows say: which column means what, their values, and where their pictures are."""
