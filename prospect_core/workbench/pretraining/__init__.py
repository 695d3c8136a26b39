"""Generated data for pretraining: image captions and text practice."""
