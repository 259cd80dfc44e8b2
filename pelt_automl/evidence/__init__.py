"""What the records say: comparison of finalists, gates, knock-outs, and how far they may be believed. No torch."""
