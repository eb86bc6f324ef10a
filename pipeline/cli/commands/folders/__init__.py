"""Commands that look after folders of Gridgate's."""
