"""Readers of published step annotations: CaptainCook4D, Ego4D Goal-Step and Qualcomm Interactive Cooking."""
