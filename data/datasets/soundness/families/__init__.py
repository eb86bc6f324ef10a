"""One file per family of findings; each has `find`, told of one case or of all of them."""
