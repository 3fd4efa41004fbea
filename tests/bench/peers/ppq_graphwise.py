"""PPQ's graphwise analysis."""

from .ppq_family import main

if __name__ == "__main__":
    main("ppq", "graphwise")
