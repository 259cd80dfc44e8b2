"""Tasks of different origin that the table of trainings is recorded on. The unit of inference is the source, not the task.

``python -m studies.sources`` lists them. No text is in the repository: it is read from the shared data folder, or made from packages of
PyPI, Debian and npm with exact versions. What comes out is compared with committed hashes.
"""

from studies.sources.rows import Places, usual_places
from studies.sources.standing import SOURCES, SourceTask, open_sources

__all__ = ["SOURCES", "Places", "SourceTask", "open_sources", "usual_places"]
