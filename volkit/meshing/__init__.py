"""From what can be seen to what game engines load: surface, fewer faces, one texture."""
