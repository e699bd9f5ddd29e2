"""From files to batches: sources, duplicates, splits, sampling, augmentation."""
