"""One decision a file: what is decided from a fingerprint, and the sentence that says why."""
