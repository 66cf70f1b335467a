"""Fine-tune a vision-language model on a dataset, with the loss on the answer alone."""
