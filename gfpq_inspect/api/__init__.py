"""What import gfpq_inspect offers."""
