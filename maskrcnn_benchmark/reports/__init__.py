"""Pages that say what a training or a test came to: one HTML file each, which asks nothing of any other place."""
