"""How any source becomes the Decathlon layout: what a source gives, and the one writer."""
