"""What leaves TIM in other formats: one module per format. Tilesets leave through ``tiling.archive``."""
