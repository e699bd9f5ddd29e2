"""Graphics made without end: pages, terminals, chats, charts, documents, memes and flat scenes, in many styles."""
