"""From a recipe to its parts: components built, combined and rehearsed."""
