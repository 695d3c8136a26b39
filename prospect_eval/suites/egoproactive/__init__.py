"""EgoProactive (Wearable AI 2026): in each chunk of a session the assistant interrupts or stays silent."""
