"""One reader per file format; `gridgate.data.images.reading` chooses between them."""
