"""esp-ppq's layerwise analysis."""

from .ppq_family import main

if __name__ == "__main__":
    main("esp_ppq", "layerwise")
