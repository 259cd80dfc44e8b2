"""Speed of the program beside what people use today. Each script is one command: ``python benchmarks/packing.py --help``."""
