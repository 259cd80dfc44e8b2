"""What the records come to: statistics, gates, knock-outs, the decision rule and its words. No torch, no files."""
