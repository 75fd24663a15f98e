"""LoRA training behind one Protocol."""
