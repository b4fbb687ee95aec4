"""What `mrb` gains by this project (see the entry points in pyproject.toml): `mrb reproduce` and `mrb scenes`."""
