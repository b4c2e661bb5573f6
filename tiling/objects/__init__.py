"""The lane of objects: what the store holds as single things (buildings, pipes, trees) becomes tiles in which each can be picked."""
