"""Commands of `jingdi` that are modules of their own; `service.cli` registers them."""
