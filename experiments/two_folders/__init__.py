"""Two folders of pictures that nobody paired and what the one command makes of them: Earth from space, and relief."""
