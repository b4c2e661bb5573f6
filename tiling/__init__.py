"""3D Tiles out of TIM: specification writers, one builder per kind of data, the engine that runs them, the archive."""
