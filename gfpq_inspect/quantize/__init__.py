"""Number formats, coefficients and the typed door to the native quantizer."""
