"""Reports of wrong answers: the form, and where they are kept. Off unless the owner names a place."""
